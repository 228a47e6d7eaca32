"""Which file a store was opened as: a process must not write to one that is not the store any more.

A restore puts another file in the store's place, and a person may move it away. SQLite would go
on with the file that it has open, and acknowledge what nobody will ever find. So every
transaction looks, in the turnstile, whether the path still leads to the same file. A restore
notes the new generation before it touches anything, which makes a new file of the note: so
whoever opened the store before is stopped from then on, even if the restore dies half way.
"""

import os
from pathlib import Path

from aetheris_cli.domain.errors import StoreFailed
from aetheris_cli.store import lockdir


class Anchor:
    """The store's file and the note of its generation, as they were when the store was opened."""

    def __init__(self, path: Path, locks: Path) -> None:
        self._path = os.fspath(path)
        self._note = os.fspath(locks / lockdir.GENERATION)
        try:
            self._seen = self._look()
        except OSError as error:
            raise self._moved() from error

    def _look(self) -> tuple[int, ...]:
        file, note = os.stat(self._path), os.stat(self._note)  # noqa: PTH116 - at each transaction
        return file.st_dev, file.st_ino, note.st_dev, note.st_ino

    def hold(self) -> None:
        """Raise StoreFailed when the path leads elsewhere, or nowhere, by now."""
        try:
            same = self._look() == self._seen
        except OSError as error:
            raise self._moved() from error
        if not same:
            raise self._moved()

    def _moved(self) -> StoreFailed:
        return StoreFailed(
            f"the store file {self._path} was replaced or moved away",
            why="this program has the former file open; what it wrote there would be lost",
            fix="start it again: it then opens what is there now",
        )
