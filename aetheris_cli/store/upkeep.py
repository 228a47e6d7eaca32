"""Looking at a store file as a whole: statistics, on a connection of their own."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aetheris_cli.domain.errors import NotFound
from aetheris_cli.store import migrate
from aetheris_cli.store.connection import connect, translate
from aetheris_cli.store.sqlite_lib import VERSION, sqlite3


@contextlib.contextmanager
def reading(path: Path) -> Iterator[Any]:
    """Open a store as it is. Raises NotFound, and StoreUnavailable and its children."""
    if not path.exists():
        raise NotFound(f"there is no store at {path}", fix="run `aetheris store init`")
    try:
        conn = connect(path, look=lambda conn: migrate.check_made(conn, path))
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
    with reading(path) as conn:
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
