"""A fair queue of two file locks around every write transaction of several processes.

SQLite's own busy waiting sleeps and retries, so beside one busy process another waits for a
second. Here a writer takes the `queue` lock, waits with it in hand for the `write` lock, and
gives `queue` back once it has `write`. Whoever just wrote must queue up behind the one that
waits, and the kernel wakes it at once. Locks are flock(2): they end with the process.
"""

import fcntl
import os
from pathlib import Path


class Turnstile:
    """The two locks of one store, for one thread."""

    def __init__(self, folder: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._queue = os.open(folder / "queue.lock", flags, 0o600)
        self._write = os.open(folder / "write.lock", flags, 0o600)

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

    def leave(self) -> None:
        """Let the next one in."""
        fcntl.flock(self._write, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give the descriptors back."""
        os.close(self._queue)
        os.close(self._write)
