"""Connections to the SQLite file: every setting in force, every error in words of ours."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from aetheris_cli.domain.errors import (
    AetherisError,
    Bug,
    StoreBusy,
    StoreDamaged,
    StoreFailed,
    StoreFull,
    StoreUnavailable,
)
from aetheris_cli.store import guard
from aetheris_cli.store.sqlite_lib import sqlite3

BUSY_MS: Final = 10_000

_PRAGMAS: Final = {
    "journal_mode": "wal",
    "synchronous": 2,
    "foreign_keys": 1,
    "trusted_schema": 0,
    "busy_timeout": BUSY_MS,
    "mmap_size": 0,
    "wal_autocheckpoint": 2_000,
    "journal_size_limit": 67_108_864,
}


class _Connection(sqlite3.Connection):  # type: ignore[misc] # whichever SQLite this is
    """A connection that keeps its file guarded until it is closed."""

    guarded = ""

    def close(self) -> None:
        super().close()
        guarded, self.guarded = self.guarded, ""
        if guarded:
            guard.release(guarded)


def connect(
    path: Path,
    *,
    create: bool = False,
    read_only: bool = False,
    look: Callable[[Any], object] | None = None,
) -> Any:  # noqa: ANN401
    """Open the file with every setting in force, and read back that it is.

    `look` sees the connection before any setting is made: some change the file, and it may turn
    out to be another's. Raises StoreUnavailable, StoreDamaged, StoreBusy or StoreFull.
    """
    mode = "ro" if read_only else "rwc" if create else "rw"
    try:
        conn = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
            timeout=BUSY_MS / 1_000,
            factory=_Connection,
        )
    except sqlite3.Error as error:
        raise translate(error, path) from error
    try:
        if look is not None:
            look(conn)
        for name, wanted in _PRAGMAS.items():
            if read_only and name == "journal_mode":
                continue
            conn.execute(f"PRAGMA {name} = {wanted}")
            found = conn.execute(f"PRAGMA {name}").fetchone()
            if found is None or found[0] != wanted:
                raise StoreUnavailable(
                    f"{path}: the setting {name} is {found and found[0]!r}, not {wanted!r}",
                    why="without it a crash could lose what was acknowledged",
                    fix="put the store on a local disk that is writable",
                )
    except sqlite3.Error as error:
        conn.close()
        raise translate(error, path) from error
    except AetherisError:
        conn.close()
        raise
    conn.guarded = guard.guard(str(path.absolute()))
    return conn


_MISSING: Final = ("no such table", "no such index", "no such column", "Could not decode")
"""What SQLite says of a file that something else has changed."""
_FATAL: Final = {"SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOTADB"}


def translate(error: Exception, path: Path, *, at_commit: bool = False) -> AetherisError:
    """Give the error of ours that an SQLite error amounts to."""
    name = getattr(error, "sqlite_errorname", None) or ""
    kind = "_".join(name.split("_")[:2])
    if kind == "SQLITE_FULL":
        return StoreFull(
            f"no room left for the store {path}",
            why="the disk is full; nothing of this was written",
            fix="free some space; jobs go on where they were",
        )
    if kind in {"SQLITE_BUSY", "SQLITE_LOCKED"}:
        return StoreBusy(
            f"the store {path} was busy for {BUSY_MS // 1000} s",
            why="another program holds it",
            fix="try again; `aetheris doctor` shows who uses it",
        )
    if not at_commit and (
        kind in {"SQLITE_NOTADB", "SQLITE_CORRUPT"} or str(error).startswith(_MISSING)
    ):
        return StoreDamaged(
            f"{path} is not a whole SQLite file",
            why=str(error),
            fix="restore a backup with `aetheris store restore FILE`, or name another file",
        )
    if kind in _FATAL or at_commit:
        return StoreFailed(
            f"the store {path} failed: {error}",
            why="whether the last commit is durable is unknown, so nothing more is written",
            fix="check the disk, then start again: what is durable is found and goes on",
        )
    if kind in {"SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH"}:
        return StoreUnavailable(
            f"the store {path} cannot be opened for writing"
            if kind == "SQLITE_READONLY"
            else f"the store {path} cannot be opened",
            why=f"{error} (check that the file and its folder exist and are yours)",
            fix="name another store with --store, or mend the permissions",
        )
    return Bug(f"the store refused a statement: {error}", why=name or type(error).__name__)
