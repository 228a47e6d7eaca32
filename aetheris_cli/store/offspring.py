"""Processes that a worker's tools have begun, and that may outlive it.

A program that a tool starts inherits the worker's environment, and there the worker's id, and
the worker's process group; a copy that a tool makes by fork holds the worker's lock open instead,
so that the worker does not count as gone. A program that was given both an environment and a
session of its own, or runs as another user, is not seen. Where the numbers of processes are
counted apart (a container), nothing is seen, so nothing is proven.
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


def space() -> str:
    """Say where programs of this process can be looked for; empty: nowhere.

    The namespace of process numbers, and this process's group if it leads one: then all in it
    that outlive it are its own.
    """
    try:
        namespace = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - it is no path
    except OSError:
        return ""
    group = os.getpgrp()
    return f"{namespace} {group if group == os.getpid() else 0}"


def survives(worker: str, where: str) -> bool:
    """Whether a program of the worker runs, or that cannot be known here. `where`: its space."""
    namespace, _, group = where.rpartition(" ")
    if not where or namespace != space().rpartition(" ")[0]:
        return True
    return any(
        _is_of(process, worker, int(group))
        for process in _processes.iterdir()
        if process.name.isdigit() and int(process.name) != os.getpid()
    )


def _is_of(process: Path, worker: str, group: int) -> bool:
    """Whether a process carries the worker's id, or belongs to the group that it led."""
    try:
        if group and _group(process) == group:
            return True
        environment = (process / "environ").read_bytes()
    except OSError:
        return False  # it has ended, or is another user's
    wanted = worker.encode()
    for entry in environment.split(b"\0"):
        name, _, value = entry.partition(b"=")
        if name == _NAME.encode() and wanted in value.split():
            return True
    return False


def _group(process: Path) -> int:
    """Read the process group; the name before it may hold anything, a parenthesis as well."""
    fields = (process / "stat").read_text("ascii", "replace").rpartition(")")[2].split()
    state, _, group = fields[:3]
    return 0 if state in {"Z", "X"} else int(group)
