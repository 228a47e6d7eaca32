"""The backup that a restore is made from: judged first, read only, and left as it is."""

from pathlib import Path
from typing import Any

from aetheris_cli.domain.errors import Conflict, NotFound, StoreDamaged, StoreUnavailable
from aetheris_cli.store import migrate
from aetheris_cli.store.connection import BUSY_MS, translate
from aetheris_cli.store.sqlite_lib import sqlite3

_ANOTHER = "name another backup"


def find(source: Path) -> Path:
    """Give the file that a backup's name leads to. Raises NotFound and StoreUnavailable."""
    if not source.exists():
        raise NotFound(
            f"there is no backup at {source}",
            why="no file of that name exists",
            fix="`aetheris store backup FILE` makes one",
        )
    if not source.is_file():
        raise StoreUnavailable(
            f"{source} is not a file", why="a backup is one SQLite file", fix=_ANOTHER
        )
    return source.resolve()


def copy(source: Path, target: Path) -> None:
    """Copy a whole store of ours into the empty file `target`.

    Raises what `find` raises, StoreDamaged and StoreTooNew for a file that is no such store,
    and SQLite's error when the copy cannot be written.
    """
    real = find(source)
    alone = not _has_log(real)
    conn = _open(real, alone=alone)
    try:
        _judge(conn, source)
        conn.execute("VACUUM INTO ?", (str(target),))
    finally:
        conn.close()
    if alone and _has_log(real):
        raise Conflict(
            f"{source} has been written to while it was read",
            why="it is not a backup but a store in use",
            fix="make a backup of it with `aetheris store backup FILE`, and restore that",
        )


def _has_log(source: Path) -> bool:
    """Whether SQLite has kept a part of the file's content beside it."""
    logs = (source.with_name(source.name + end) for end in ("-wal", "-journal"))
    return any(log.exists() and log.stat().st_size for log in logs)


def _open(source: Path, *, alone: bool) -> Any:  # noqa: ANN401 - whichever SQLite this is
    """Open for reading. A file that stands alone is taken as it is: not even a lock is made."""
    how = "mode=ro&immutable=1" if alone else "mode=ro"
    try:
        return sqlite3.connect(
            f"{source.as_uri()}?{how}", uri=True, isolation_level=None, timeout=BUSY_MS / 1_000
        )
    except sqlite3.Error as error:
        raise translate(error, source) from error


def _judge(conn: Any, source: Path) -> None:  # noqa: ANN401
    """Raise StoreDamaged and StoreTooNew unless the file is a whole store of ours."""
    try:
        conn.execute("PRAGMA trusted_schema = 0")
        version = migrate.check(conn, source)
        found = conn.execute("PRAGMA integrity_check(3)").fetchall() if version else []
    except sqlite3.Error as error:
        problem = translate(error, source)
        problem.fix = _ANOTHER if isinstance(problem, StoreDamaged) else problem.fix
        raise problem from error
    except StoreDamaged as problem:
        problem.fix = _ANOTHER
        raise
    if not version:
        raise StoreDamaged(f"{source} is empty", why="it holds no store", fix=_ANOTHER)
    if found != [("ok",)]:
        why = "; ".join(text.strip().replace("\n", " ") for (text,) in found)
        raise StoreDamaged(f"{source} is damaged", why=why, fix=_ANOTHER)
