"""Looking after a store file: statistics, backup. On connections of their own."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aetheris_cli.domain.errors import Conflict, NotFound
from aetheris_cli.store import migrate
from aetheris_cli.store.connection import connect, translate
from aetheris_cli.store.guard import guard
from aetheris_cli.store.sqlite_lib import VERSION, sqlite3


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[Any]:
    if not path.exists():
        raise NotFound(f"there is no store at {path}", fix="run `aetheris store init`")
    try:
        conn = connect(path, look=lambda conn: migrate.check(conn, path))
    except sqlite3.Error as error:
        raise translate(error, path) from error
    try:
        yield conn
    except sqlite3.Error as error:
        raise translate(error, path) from error
    finally:
        conn.close()


def stats(path: Path) -> dict[str, Any]:
    """Count rows and bytes."""
    with _reading(path) as conn:
        counts = {
            table: conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - ours
            for table in ("jobs", "events", "payloads", "inbox")
        }
        pages, size = (
            conn.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")
        )
        states = dict(conn.execute("SELECT status, count(*) FROM jobs GROUP BY status").fetchall())
    return {
        "id": str(path), "path": str(path), "bytes": pages * size, **counts, "status": states,
        "sqlite": ".".join(map(str, VERSION)),
    }  # fmt: skip


def backup(path: Path, target: Path) -> Path:
    """Copy the store through SQLite into a new file. Raises Conflict when there is one."""
    if target.exists():
        raise Conflict(f"{target} exists", why="a backup overwrites nothing", fix="name a new file")
    if not target.parent.is_dir():
        raise NotFound(f"there is no folder {target.parent}")
    guard(str(path))
    with _reading(path) as conn:
        conn.execute("VACUUM INTO ?", (str(target),))
    os.chmod(target, 0o600)  # noqa: PTH101 - what SQLite made
    return target
