"""Operations that only read. Each runs in one short read transaction."""

from heapq import merge
from itertools import islice
from typing import Any, Final

from aetheris_cli.domain.errors import StoreDamaged
from aetheris_cli.domain.events import JobSubmitted
from aetheris_cli.domain.records import InboxRow, JobRow, Question
from aetheris_cli.ports.store import Facts, Filter
from aetheris_cli.store.jobs import as_job, by_no, events_after
from aetheris_cli.store.requests import Op, Q

MANY: Final = 10


def find(text: str) -> Op[list[JobRow]]:
    """Give the jobs that `text` may mean; an exact id comes first."""
    if text == "@last":
        return [as_job(row) for row in (yield Q("last_job"))]
    if "\0" in text or not text.isascii():
        return []
    low = text if text.startswith("job_") else f"job_{text}"
    if low == "job_" or "job_".startswith(text):
        return []
    rows = yield Q("jobs_by_prefix", {"low": low, "high": low + "\x7f"})
    return [as_job(row) for row in rows]


def listed(wanted: Filter) -> Op[list[JobRow]]:
    """Give jobs, newest first, by the most selective index there is."""
    common: dict[str, Any] = {"before": wanted.before, "since": wanted.since}
    if wanted.label is not None:
        name, value = wanted.label
        source = "list_by_label", common | {"name": name, "value": value}
    elif wanted.agent and not wanted.statuses:
        source = "list_by_agent", common | {"agent": wanted.agent}
    elif wanted.statuses:
        rows: list[list[JobRow]] = []
        for status in wanted.statuses:
            values = common | {"status": status}
            rows += [(yield from _filtered(wanted, "list_by_status", values))]
        return list(islice(merge(*rows, key=lambda job: -job.no), wanted.limit))
    else:
        source = "list_all", common
    return (yield from _filtered(wanted, *source))


def _filtered(wanted: Filter, name: str, values: dict[str, Any]) -> Op[list[JobRow]]:
    """Read pages until enough jobs pass the filter."""
    found: list[JobRow] = []
    page = wanted.limit
    while len(found) < wanted.limit:
        rows = [as_job(row) for row in (yield Q(name, values | {"limit": page}))]
        found += [
            job
            for job in rows
            if (not wanted.statuses or job.status in wanted.statuses)
            and (not wanted.agent or job.agent == wanted.agent)
        ]
        if len(rows) < page:
            break
        values["before"] = rows[-1].no
        page = min(4 * page, 4_096)
    return found[: wanted.limit]


def lines(no: int, after: int, limit: int) -> Op[list[tuple[int, str, bytes]]]:
    """Give the stored lines of a job: seq, body, hash."""
    rows = yield Q("events_of", {"no": no, "after": after, "limit": limit})
    return [(seq, body, bytes(head)) for seq, body, head in rows]


def inbox(no: int, after: int) -> Op[list[InboxRow]]:
    """Give wishes after a number."""
    return [InboxRow(*row) for row in (yield Q("inbox_after", {"no": no, "after": after}))]


def unread(worker: str) -> Op[list[int]]:
    """Give the numbers of the worker's jobs with unread wishes."""
    return [row[0] for row in (yield Q("unread_of_worker", {"worker": worker}))]


def questions(no: int) -> Op[list[Question]]:
    """Give what one job waits for."""
    return [Question(*row) for row in (yield Q("questions_of", {"no": no}))]


def open_questions(kind: str) -> Op[list[tuple[JobRow, Question]]]:
    """Give what waits for a person: questions, and jobs parked as a whole."""
    found = []
    for no, *values in (yield Q("questions_open", {"kind": kind})):
        rows = yield Q("job_by_no", {"no": no})
        found.append((as_job(rows[0]), Question(*values)))
    return found


def facts(row: JobRow, *, whole: bool = True) -> Op[Facts]:
    """Give what the table does not hold: the first event, the last of an ended job, the waits.

    Not `whole`: values too large for a line are left out. Raises StoreDamaged.
    """
    first = yield from events_after(row.no, 0, 1, whole=whole)
    row = yield from by_no(row.no)
    end = []
    if row.ended_seq:
        end = yield from events_after(row.no, row.ended_seq - 1, 1, whole=whole)
    waits = (yield from questions(row.no)) if row.parked else []
    if not first:
        raise StoreDamaged(
            f"job {row.id} has no history",
            why="something other than Aetheris has changed the store",
            fix="`aetheris store check` says what is damaged",
        )
    return Facts(row, first[0], end[0] if end else None, waits)


def all_facts(wanted: Filter, *, whole: bool) -> Op[list[Facts]]:
    """List jobs with their facts, in one read transaction; one that cannot be read is named."""
    rows = yield from listed(wanted)
    found = []
    for row in rows:
        try:
            one = yield from facts(row, whole=whole)
        except StoreDamaged as error:
            lost = JobSubmitted(agent=row.agent, message=f"({error.message})")
            one = Facts(row, lost, None, [])
        found.append(one)
    return found


def counts() -> Op[dict[str, int]]:
    """Count the jobs of each status."""
    return dict((yield Q("count_by_status")))


def version() -> Op[int]:
    """Give SQLite's own counter of changes by other connections."""
    return int((yield Q("data_version"))[0][0])
