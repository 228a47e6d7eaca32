"""Which file a store was opened as: a process must not write to one that is not the store any more.

A restore puts another file in the store's place, and a person may move it away. SQLite would go
on with the file that it has open, and acknowledge what nobody will ever find. So every
transaction looks, in the turnstile, at a mark in the lock directory that a restore changes before
it touches anything: whoever opened the store before is stopped from then on, even if the restore
dies half way. The mark is shared memory, so the look costs no system call. Whether the path
still leads to the same file is looked at less often: whoever moves it asks nobody anyway.
"""

import mmap
import os
import secrets
import time
from pathlib import Path
from typing import Final

from aetheris_cli.domain.errors import StoreFailed

EVERY_S: Final = 0.05
"""How long a look at the path is good for."""
_MARK: Final = "restored"
_SIZE: Final = 16


class Anchor:
    """The mark and the store's file as they were when the store was opened."""

    def __init__(self, path: Path, locks: Path) -> None:
        self._path = os.fspath(path)
        self._mark = _mapped(locks / _MARK)
        self._marked = self._mark[:]
        self._good_until = 0.0
        try:
            self._seen = self._look()
        except OSError as error:
            raise self._moved() from error

    def _look(self) -> tuple[int, int]:
        found = os.stat(self._path)  # noqa: PTH116 - no Path where writers pass
        return found.st_dev, found.st_ino

    def hold(self) -> None:
        """Raise StoreFailed when the path leads elsewhere, or nowhere, by now."""
        if self._mark[:] != self._marked:
            raise self._moved()
        now = time.monotonic()
        if now < self._good_until:
            return
        try:
            same = self._look() == self._seen
        except OSError as error:
            raise self._moved() from error
        if not same:
            raise self._moved()
        self._good_until = now + EVERY_S

    def _moved(self) -> StoreFailed:
        return StoreFailed(
            f"the store file {self._path} was replaced or moved away",
            why="this program has the former file open; what it wrote there would be lost",
            fix="start it again: it then opens what is there now",
        )


def _opened(mark: Path) -> int:
    return os.open(mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _mapped(mark: Path) -> mmap.mmap:
    """Share the mark with all who have the store open; make it at need."""
    descriptor = _opened(mark)
    try:
        if os.fstat(descriptor).st_size < _SIZE:
            os.ftruncate(descriptor, _SIZE)  # zeros; what another has written there stays
        return mmap.mmap(descriptor, _SIZE, prot=mmap.PROT_READ)
    finally:
        os.close(descriptor)


def weigh(locks: Path) -> None:
    """Stop everybody who has the store open. Only whoever is in the turnstile may."""
    descriptor = _opened(locks / _MARK)
    try:
        # Not through the memory: without room on the disk that would end this process.
        os.pwrite(descriptor, secrets.token_bytes(_SIZE), 0)
    finally:
        os.close(descriptor)
