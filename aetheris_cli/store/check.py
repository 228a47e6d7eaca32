"""`store check`: the whole file held against itself. Nothing is written.

The truth of a store is what its histories say, and every other row can be made again from
them. So each job's events are read in order, their chain is followed, and what they make of
the rows is compared with the rows that stand there: the job's own, its labels, its open
questions, its inbox, its keys, its relatives. Around that come SQLite's own check, the schema,
the payloads and rows that belong to nobody.

All tables are walked side by side in the order of the jobs, so one job at a time is in memory,
however many there are. It is one read transaction: the store may be in use, and what is found is
true of one moment of it. The write-ahead log cannot shrink meanwhile.

What no history determines is not covered, and `NOT_COVERED` says so to whoever asks.
"""

import contextlib
from collections.abc import Callable, Iterator
from itertools import chain as one_after_another
from itertools import islice
from pathlib import Path
from typing import Any, Final

from aetheris_cli.domain.errors import NotFound
from aetheris_cli.domain.records import JOB_COLUMNS
from aetheris_cli.store import check_file, check_kin, check_rows, migrate
from aetheris_cli.store.check_history import History
from aetheris_cli.store.check_inbox import Inbox
from aetheris_cli.store.connection import connect, translate
from aetheris_cli.store.findings import Finding, Findings, shown
from aetheris_cli.store.sqlite_lib import sqlite3
from aetheris_cli.store.streams import Stream

NOT_COVERED: Final = (
    "leases and former workers",
    "the values of store_id, generation and made_by",
    "when a wish arrived in an inbox, and who resumed a job",
    "pauses, resumes and wishes about keys that changed nothing",
    "wishes that their job has not read yet",
    "since when a call waits for a global key, and keys taken by calls that have not begun",
    "the title of a divergence beyond the step that it names",
)
MOST: Final = 1_000
"""So many findings are told: a file that is damaged all over says no more with each."""

_TABLES: Final = ("inbox", "questions", "job_labels", "global_keys")


def check(path: Path, most: int = MOST) -> list[Finding]:
    """Give what is wrong with the store at `path`; nothing: all is as it must be.

    Raises NotFound, and StoreUnavailable and its children for a file that is no store, is
    another program's or a newer version's, or cannot be opened.
    """
    if not path.exists():
        raise NotFound(f"there is no store at {path}", fix="run `aetheris store init`")
    try:
        with _snapshot(path) as conn:
            found = list(islice(_everything(conn, str(path)), most + 1))
    except sqlite3.Error as error:
        raise translate(error, path) from error
    if len(found) > most:
        found[most:] = [Finding(str(path), f"there is more: the first {most:,} are listed")]
    return found


@contextlib.contextmanager
def _snapshot(path: Path) -> Iterator[Any]:
    conn = connect(path, read_only=True, look=lambda conn: migrate.belongs(conn, path))
    # Whatever bytes somebody has put into a column of text, they are read, and differ.
    conn.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
    try:
        conn.execute("BEGIN")
        yield conn
    finally:
        conn.close()


def _everything(conn: Any, path: str) -> Findings:  # noqa: ANN401 - whichever SQLite this is
    parts: dict[str, Callable[[Any, str], Findings]] = {
        "the pages": check_file.integrity,
        "the schema": check_file.schema,
        "the version": check_file.version,
        "meta": check_file.meta,
        "the payloads": check_file.payloads,
        "references": check_file.strays,
        "the jobs": _jobs,
    }
    return one_after_another.from_iterable(
        _part(conn, path, name, part) for name, part in parts.items()
    )


def _part(conn: Any, path: str, name: str, part: Callable[[Any, str], Findings]) -> Findings:  # noqa: ANN401
    """Do one part; what cannot be read for it, is a finding, and the other parts go on."""
    try:
        yield from part(conn, path)
    except sqlite3.Error as error:
        yield Finding(path, f"{name} could not be checked to the end: {error}")


# --- the jobs --------------------------------------------------------------------------------


def _jobs(conn: Any, path: str) -> Findings:  # noqa: ANN401
    """Walk all tables side by side, in the order of the jobs."""
    events = Stream(conn, "events", "seq, typeof(body), CAST(body AS BLOB), hash", "seq")
    beside = {
        "inbox": Stream(conn, "inbox", "n, kind, step, actor, at, body, dedupe", "n"),
        "questions": Stream(
            conn, "questions",
            "step, kind, since, title, name, digest, schema, role, until, details", "step",
        ),
        "job_labels": Stream(conn, "job_labels", "name, value", "name"),
        "global_keys": Stream(conn, "global_keys", "tool, key, step", "step"),
    }  # fmt: skip
    streams = {"events": events, **beside}
    for values in conn.execute(f"SELECT {', '.join(JOB_COLUMNS)} FROM jobs ORDER BY no"):  # noqa: S608 - ours
        row = dict(zip(JOB_COLUMNS, values, strict=True))
        for table, stream in streams.items():
            yield from _orphans(path, table, stream.before(row["no"]))
        yield from _job(conn, row, events, beside)
    for table, stream in streams.items():
        yield from _orphans(path, table, stream.rest())


def _orphans(path: str, table: str, numbers: Iterator[Any]) -> Findings:
    for no in numbers:
        yield Finding(path, f"{table}: rows of job number {shown(no)}, which is not there")


def _job(conn: Any, row: dict[str, Any], events: Stream, beside: dict[str, Stream]) -> Findings:  # noqa: ANN401
    """Hold everything of one job against its history."""
    no, name = row["no"], row["id"]
    if not (isinstance(name, str) and name.isascii()):
        name = shown(name).encode("ascii", "backslashreplace").decode()
        yield Finding(name, "jobs.id is no id", name)
        row["id"] = name
    inbox = Inbox(name, beside["inbox"].of(no))
    mine = {table: list(beside[table].of(no)) for table in _TABLES if table != "inbox"}
    history = History(conn, name, inbox)
    yield from inbox.counts(row)
    yield from history.read(events.of(no))
    events.skip(no)
    if not history.whole:
        return  # nothing that follows from it can be said
    wanted = history.wanted
    yield from check_rows.job(row, wanted.row(name, history.head))
    yield from check_rows.labels(name, mine["job_labels"], wanted)
    yield from check_rows.questions(conn, name, mine["questions"], wanted)
    yield from inbox.rest(owned=bool(wanted.history.worker))
    yield from check_kin.kin(conn, row, wanted, inbox)
    yield from check_kin.owner(conn, name, wanted)
    yield from check_kin.keys(conn, row, mine["global_keys"], wanted)
