"""Doorbells: a named pipe for each worker, so that one process can wake another at once.

A ring is a hint and carries nothing; the worker looks at the store. Whoever rings never waits:
a full pipe means that the worker is awake anyway, a pipe without a reader that it is gone.
"""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path


def bell_path(locks: Path, worker: str) -> Path:
    """Give the place of a worker's bell."""
    return locks / f"{worker}.bell"


def ring(locks: Path, workers: Iterable[str]) -> None:
    """Ring the bells of some workers; the empty name stands for all of the store."""
    names = {f"{worker}.bell" for worker in workers}
    if ".bell" in names:
        try:
            names = {name for name in os.listdir(locks) if name.endswith(".bell")}  # noqa: PTH208
        except OSError:
            return  # the folder is gone, and with it everybody who could listen
    for name in names:
        path = os.path.join(locks, name)  # noqa: PTH118 - with listdir a quarter of pathlib's cost
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.write(descriptor, b"\n")
            finally:
                os.close(descriptor)


class Bell:
    """A worker's own bell."""

    def __init__(self, locks: Path, worker: str) -> None:
        self._path = bell_path(locks, worker)
        with contextlib.suppress(FileExistsError):
            os.mkfifo(self._path, 0o600)
        # Opened for writing too, so that the pipe never ends when the last ringer closes it.
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        """Give the descriptor to wait on."""
        return self._descriptor

    def silence(self) -> None:
        """Take all rings off the pipe."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._descriptor, 4_096):
                pass

    def close(self) -> None:
        """Remove the bell."""
        os.close(self._descriptor)
        self._path.unlink(missing_ok=True)
