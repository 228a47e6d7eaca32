"""How a worker shows that it lives, hears that it is wanted, and learns that another is dead."""

from typing import Protocol

from aetheris_cli.domain.records import WorkerRow


class Presence(Protocol):
    """One worker on one host."""

    host: str
    boot: str
    lock_dir: str

    def fileno(self) -> int:
        """Give the descriptor that becomes readable when someone rings."""

    def silence(self) -> None:
        """Take note of all rings so far."""

    def is_gone(self, worker: WorkerRow) -> bool:
        """Whether it is proven that this worker's process has ended."""

    def close(self) -> None:
        """Let go of the lock, as the process's end would."""
