"""How a worker shows that it lives, hears that it is wanted, and learns that another is dead."""

from collections.abc import Callable
from typing import Protocol

from aetheris_cli.domain.records import WorkerRow


class Presence(Protocol):
    """One worker on one host."""

    host: str
    boot: str
    lock_dir: str
    space: str

    def fileno(self) -> int:
        """Give the descriptor that becomes readable when someone rings."""

    def silence(self) -> None:
        """Take note of all rings so far."""

    def is_gone(self, worker: WorkerRow) -> bool:
        """Whether it is proven that this worker's process has ended."""

    def children_gone(self, worker: WorkerRow) -> bool:
        """Whether it is proven that no process survives that a tool of this worker has begun."""

    def watch(self, worker: WorkerRow, gone: Callable[[str], None]) -> None:
        """Call `gone` with the worker's id once, on any thread, when its process has ended."""

    def unwatch(self, worker: WorkerRow, gone: Callable[[str], None]) -> None:
        """Do not call `gone` any more."""

    def forget(self, worker: str) -> None:
        """Remove what a dead worker has left."""

    def close(self, *, quiet: bool) -> None:
        """Let go of the lock, as the process's end would; not while something still runs."""
