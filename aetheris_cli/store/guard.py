"""Nothing in this process may open a live store file but SQLite.

POSIX locks belong to the process: closing any descriptor of the file drops them all. The next
process to close the store then believes it is the last one and deletes the write-ahead log,
with acknowledged commits in it. So an audit hook refuses `open` of a guarded file under any of
its names. SQLite itself opens files in C, which audit hooks do not see.
"""

import os
import sys
import threading
from typing import Final

from aetheris_cli.domain.errors import UsageError

Inode = tuple[int, int]

_PARTS: Final = ("", "-wal", "-shm")
_lock: Final = threading.RLock()
_users: Final[dict[str, int]] = {}
"""How many connections are open to a file, by its real path."""
_seen: Final[dict[str, set[Inode]]] = {}
"""Which files the guarded names have led to: they may be renamed while they are open."""
_missing: Final[set[str]] = set()
"""Guarded names that led nowhere yet: SQLite makes its log when it needs it."""
_state: Final = {"installed": False}


def guard(path: str) -> str:
    """Refuse raw opens of the store at `path`, its log and its index; give what `release` takes."""
    real = os.path.realpath(path)
    with _lock:
        _users[real] = _users.get(real, 0) + 1
        _seen.setdefault(real, set())
        _missing.update(real + part for part in _PARTS)
        _look()
        if not _state["installed"]:
            sys.addaudithook(_hook)
            _state["installed"] = True
    return real


def release(real: str) -> None:
    """Undo one `guard`; after the last one the file is like any other."""
    with _lock:
        _users[real] -= 1
        if not _users[real]:
            del _users[real], _seen[real]
            _missing.difference_update(real + part for part in _PARTS)


def _look() -> None:
    """Take note of the files that missing names lead to by now."""
    with _lock:
        for name in list(_missing):
            found = _inode(name)
            real = name if name in _seen else name[: -len("-wal")]
            if found is not None and real in _seen:
                _seen[real].add(found)
                _missing.discard(name)


def _inode(name: str) -> Inode | None:
    try:
        info = os.stat(name)  # noqa: PTH116 - this runs at every open of the process: no Path
    except (OSError, ValueError):
        return None
    return info.st_dev, info.st_ino


def _hook(event: str, args: tuple[object, ...]) -> None:
    if event != "open" or not _users:
        return
    path = args[0]
    if isinstance(path, os.PathLike):
        path = os.fspath(path)
    if not isinstance(path, str | bytes):
        return  # a descriptor: what it leads to is open already
    name = os.fsdecode(path)
    # os.open names no mode, and may mean another folder than this process's (`dir_fd`).
    if _is_guarded(name, _inode(name), anywhere=args[1] is None and not name.startswith("/")):
        raise UsageError(
            f"refused to open {name}",
            why="closing a raw descriptor of a live store drops its locks and can lose commits",
            fix="use `aetheris store backup FILE`, which copies through SQLite",
        )


def _is_guarded(name: str, inode: Inode | None, *, anywhere: bool) -> bool:
    base = name.rpartition("/")[2]
    if anywhere and any(
        base == real.rpartition("/")[2] + part for real in list(_users) for part in _PARTS
    ):
        return True
    if inode is None:
        return False
    if _missing:
        _look()
    return any(inode in files for files in list(_seen.values()))
