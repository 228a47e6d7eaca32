"""Nothing in this process may open a live store file but SQLite.

POSIX locks belong to the process: closing any descriptor of the file drops them all. The next
process to close the store then believes it is the last one and deletes the write-ahead log,
with acknowledged commits in it. So an audit hook refuses `open` of a guarded file, and `copy`
and `sha256sum` of our own making with it. SQLite itself opens files in C, which audit hooks do
not see.
"""

import os
import sys
from typing import Final

from aetheris_cli.domain.errors import UsageError

_guarded: Final[set[tuple[int, int]]] = set()
_names: Final[set[str]] = set()
_state: Final = {"installed": False}


def guard(path: str) -> None:
    """Refuse raw opens of the store at `path`, its log and its index, until the process ends."""
    real = os.path.realpath(path)
    for suffix in ("", "-wal", "-shm"):
        _names.add(real + suffix)
        try:
            info = os.stat(real + suffix)  # noqa: PTH116
        except OSError:
            continue
        _guarded.add((info.st_dev, info.st_ino))
    if not _state["installed"]:
        sys.addaudithook(_hook)
        _state["installed"] = True


def _hook(event: str, args: tuple[object, ...]) -> None:
    if event != "open" or not _names:
        return
    path = args[0]
    if not isinstance(path, str | bytes):
        return
    name = os.fsdecode(path)
    # A cheap look at the end of the name first: this runs at every open of the process.
    base = name.rpartition("/")[2]
    if not any(known.endswith(base) for known in _names):
        return
    try:
        info = os.stat(name)  # noqa: PTH116 - this runs at every open: no Path
    except (OSError, ValueError):
        return
    if (info.st_dev, info.st_ino) in _guarded or os.path.realpath(name) in _names:
        raise UsageError(
            f"refused to open {name}",
            why="closing a raw descriptor of a live store drops its locks and can lose commits",
            fix="use `aetheris store backup FILE`, which copies through SQLite",
        )
