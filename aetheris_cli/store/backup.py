"""A backup: a copy of the store through SQLite, there as a whole or not at all."""

import os
import secrets
from pathlib import Path

from aetheris_cli.domain.errors import (
    Conflict,
    NotFound,
    StoreDamaged,
    StoreFull,
    StoreUnavailable,
    UsageError,
)
from aetheris_cli.store import files
from aetheris_cli.store.connection import translate
from aetheris_cli.store.sqlite_lib import sqlite3
from aetheris_cli.store.upkeep import reading


def backup(path: Path, target: Path) -> Path:
    """Copy the store into the new file `target`, which is durable when this returns.

    Raises Conflict when there is such a file, NotFound, UsageError, StoreFull and what opening
    the store raises; then there is no file.
    """
    _judge(target)
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    with files.in_words(target):
        try:
            files.make_private(partial)
            _copy(path, partial, target)
            files.sync(partial)
            _put(partial, target)
        finally:
            partial.unlink(missing_ok=True)
        files.sync(target.parent)
    return target


def _judge(target: Path) -> None:
    if target.is_dir():
        raise UsageError(
            f"{target} is a folder", why="a backup is one file", fix="name a new file in it"
        )
    if os.path.lexists(target):
        raise _exists(target)
    if not target.parent.is_dir():
        raise NotFound(
            f"there is no folder {target.parent}",
            why="the backup would be in it",
            fix="make it, or name another",
        )


def _exists(target: Path) -> Conflict:
    return Conflict(f"{target} exists", why="a backup overwrites nothing", fix="name a new file")


def _copy(path: Path, partial: Path, target: Path) -> None:
    with reading(path) as conn:
        try:
            conn.execute("VACUUM INTO ?", (str(partial),))
        except sqlite3.Error as error:
            found = translate(error, path)
            if isinstance(found, StoreDamaged):
                raise found from error
            kind = StoreFull if isinstance(found, StoreFull) else StoreUnavailable
            raise kind(
                f"the backup {target} could not be written",
                why=f"{error}; nothing of it was kept",
                fix="free some space, or name a file on another disk",
            ) from error


def _put(partial: Path, target: Path) -> None:
    """Give the copy its name, unless another file has got that meanwhile."""
    try:
        target.hardlink_to(partial)
    except FileExistsError as error:
        raise _exists(target) from error
