"""A fair queue of two file locks around every write transaction of several processes.

SQLite's own busy waiting sleeps and retries, so beside one busy process another waits for a
second. Here a writer takes the `queue` lock, waits with it in hand for the `write` lock, and
gives `queue` back once it has `write`. Whoever just wrote must queue up behind the one that
waits, and the kernel wakes it at once. Locks are flock(2): they end with the process.
"""

import contextlib
import fcntl
import os
import time
import weakref
from pathlib import Path
from typing import Final

from aetheris_cli.domain.errors import StoreBusy

_STEP_S: Final = 0.002
_LONGEST_STEP_S: Final = 0.05


class Turnstile:
    """The two locks of one store, for one thread."""

    def __init__(self, folder: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._queue = os.open(folder / "queue.lock", flags, 0o600)
        self._write = os.open(folder / "write.lock", flags, 0o600)
        _open.add(self)

    def enter(self, *, wait: bool = True) -> bool:
        """Wait for the turn; without `wait`, say False when another has it or waits for it."""
        how = fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
        try:
            fcntl.flock(self._queue, how)
            try:
                fcntl.flock(self._write, how)
            finally:
                fcntl.flock(self._queue, fcntl.LOCK_UN)
        except BlockingIOError:
            return False
        return True

    def enter_within(self, seconds: float) -> None:
        """Wait for the turn so long at most: whoever has it may be stopped. Raises StoreBusy."""
        until, step = time.monotonic() + seconds, _STEP_S
        while not self.enter(wait=False):
            if time.monotonic() > until:
                raise StoreBusy(
                    f"another program has held the store for {seconds:g} s",
                    why="it is in the middle of a write, and stopped or stuck there",
                    fix="`aetheris doctor` shows who uses the store; let it go on, or end it",
                )
            time.sleep(step)
            step = min(2 * step, _LONGEST_STEP_S)

    def leave(self) -> None:
        """Let the next one in."""
        fcntl.flock(self._write, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give the descriptors back."""
        _open.discard(self)
        for descriptor in (self._queue, self._write):
            with contextlib.suppress(OSError):  # twice is once: after a fork, say
                os.close(descriptor)


_open: Final = weakref.WeakSet[Turnstile]()


def _let_go() -> None:
    """Close the locks in a process that a tool has forked: it would hold them all its life."""
    for turnstile in list(_open):
        turnstile.close()


os.register_at_fork(after_in_child=_let_go)
