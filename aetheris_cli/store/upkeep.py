"""Looking at a store file as a whole: check and statistics, on connections of their own."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from aetheris_cli.domain import chain, codec
from aetheris_cli.domain import events as ev
from aetheris_cli.domain.errors import NotFound
from aetheris_cli.domain.history import fold
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


def check(path: Path) -> list[dict[str, str]]:
    """Give every problem found: SQLite's own, broken chains, rows that their history denies."""
    with reading(path) as conn:
        found = [
            {"id": str(path), "problem": text}
            for (text,) in conn.execute("PRAGMA integrity_check").fetchall()
            if text != "ok"
        ]
        for row in conn.execute("SELECT no, id, status, epoch, seq, head FROM jobs").fetchall():
            found += [{"id": row[1], "problem": text} for text in _judge(conn, *row)]
        found += _payloads(conn)
    return found


def _payloads(conn: Any) -> list[dict[str, str]]:  # noqa: ANN401 - whichever SQLite this is
    return [
        {"id": digest, "problem": "a payload is not what its digest says"}
        for digest, body in conn.execute("SELECT digest, body FROM payloads")
        if codec.digest(body.encode()) != digest
    ]


def _judge(
    conn: Any,  # noqa: ANN401 - whichever SQLite this is
    no: int,
    job: str,
    status: str,
    epoch: int,
    seq: int,
    head: bytes,
) -> list[str]:
    lines = conn.execute(
        "SELECT seq, body, hash FROM events WHERE job_no = ? ORDER BY seq", (no,)
    ).fetchall()
    lines = [(at, body, bytes(line_head)) for at, body, line_head in lines]
    broken = chain.first_break(job, lines)
    if broken is not None:
        return [f"the chain breaks at event {broken}"]
    try:
        events = [ev.decode(body) for _, body, _ in lines]
    except msgspec.DecodeError as error:
        return [f"an event cannot be read: {error}"]
    history = fold(events)
    problems = [
        f"the payload {digest} of event {event.seq} is missing"
        for event in events
        for digest in (event.refs or {}).values()
        if not conn.execute("SELECT 1 FROM payloads WHERE digest = ?", (digest,)).fetchone()
    ]
    if not lines or (lines[-1][0], lines[-1][2]) != (seq, bytes(head)):
        problems.append("the row's head is not the history's")
    if history.status != status:
        problems.append(f"the row says {status}, the history {history.status}")
    if history.epoch > epoch:
        problems.append(f"the row's epoch {epoch} is older than the history's {history.epoch}")
    return problems
