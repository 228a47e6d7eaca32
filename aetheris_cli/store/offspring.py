"""Processes that a worker's tools have begun, and that may outlive it.

A program that a tool starts inherits the worker's environment, and there the worker's id; a copy
that a tool makes by fork holds the worker's lock open instead, so that the worker does not count
as gone. A program that was given an environment of its own, or runs as another user, is not seen.
"""

import os
import threading
from pathlib import Path
from typing import Final

_NAME: Final = "AETHERIS_WORKERS"
_lock: Final = threading.Lock()
_processes: Final = Path("/proc")


def mark(worker: str) -> None:
    """Let every program that this process starts from now on carry the worker's id."""
    with _lock:
        os.environ[_NAME] = " ".join([*os.environ.get(_NAME, "").split(), worker])


def unmark(worker: str) -> None:
    """Undo `mark` for programs that are started later."""
    with _lock:
        left = [one for one in os.environ.get(_NAME, "").split() if one != worker]
        if left:
            os.environ[_NAME] = " ".join(left)
        else:
            os.environ.pop(_NAME, None)


def survives(worker: str) -> bool:
    """Whether a program that carries the worker's id runs, or that cannot be known here."""
    if not (_processes / "self" / "environ").exists():
        return True  # this system does not show it, so nothing is proven
    wanted = worker.encode()
    for process in _processes.iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            environment = (process / "environ").read_bytes()
        except OSError:
            continue  # it has ended, or is another user's
        for entry in environment.split(b"\0"):
            name, _, value = entry.partition(b"=")
            if name == _NAME.encode() and wanted in value.split():
                return True
    return False
