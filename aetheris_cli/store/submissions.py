"""New jobs, created many at a time.

Each statement makes the writing thread let go of the interpreter lock and win it back from a
busy event loop. So all that is submitted in one turn of the loop becomes a few statements.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

import msgspec

from aetheris_cli.domain import chain
from aetheris_cli.domain import events as ev
from aetheris_cli.domain.changes import NewJob
from aetheris_cli.domain.errors import AetherisError, Conflict
from aetheris_cli.domain.events import AnyEvent
from aetheris_cli.domain.records import JobRow
from aetheris_cli.domain.states import JOB, JobState, advance
from aetheris_cli.ports.store import Started
from aetheris_cli.store import jobs
from aetheris_cli.store.requests import Find, Many, Op, Q

_STATUS: Final = JobRow.__struct_fields__.index("status")


class Submission(NamedTuple):
    """A job that somebody wants to have."""

    new: NewJob
    now: int
    worker: str = ""
    """Who owns it from the start, if that worker's lease is still good; empty: nobody."""


Answer: TypeAlias = Started | AetherisError


class _Unborn(NamedTuple):
    """A job sealed before its row exists, so that the row is written once, as it ends up."""

    row: JobRow
    sealed: chain.Sealed
    events: list[AnyEvent]
    labels: Mapping[str, str]


def submit_all(wanted: Sequence[Submission]) -> Op[list[Answer]]:
    """Create jobs, or give those that have the same keys already; one answer for each.

    The answer is Conflict when a key was used with another agent, message or input.
    """
    owners = {"": False}
    for name in {one.worker for one in wanted if one.worker}:
        owners[name] = yield from jobs.is_alive(name)
    answers: dict[int, Answer] = {}
    fresh: dict[int, Submission] = {}
    keys: set[str] = set()
    for at, one in enumerate(wanted):
        key = one.new.event.key
        if key in keys:
            # One of this very batch may be the job: it has to be there to be found.
            yield from _fill(answers, fresh)
        if key:
            keys.add(key)
            rows = yield Q("job_by_key", {"key": key})
            if rows:
                answers[at] = yield from _again(jobs.as_job(rows[0]), one.new)
                continue
        fresh[at] = one if owners[one.worker] else one._replace(worker="")
    yield from _fill(answers, fresh)
    return [answers[at] for at in range(len(wanted))]


def _fill(answers: dict[int, Answer], fresh: dict[int, Submission]) -> Op[None]:
    """Create what is new so far."""
    started = yield from insert_all(list(fresh.values()))
    answers.update(zip(fresh, started, strict=True))
    fresh.clear()


def _again(row: JobRow, new: NewJob) -> Op[Answer]:
    first = yield from jobs.events_after(row.no, 0, 1)
    old, wanted = first[0], new.event
    if isinstance(old, ev.JobSubmitted) and (
        (old.agent, old.message, bytes(old.input))
        == (wanted.agent, wanted.message, bytes(wanted.input))
    ):
        return Started(row, created=False, events=[])
    return Conflict(
        f"the key {wanted.key!r} belongs to job {row.id}",
        why="that job was submitted with another agent, message or input",
        fix="use another key, or submit the same again",
        job=row.id,
    )


def insert_all(wanted: Sequence[Submission]) -> Op[list[Started]]:
    """Create jobs; where an id exists already, give that job."""
    if not wanted:
        return []
    unborn = [_unborn(one) for one in wanted]
    rows = [
        (*row[1:_STATUS], str(row[_STATUS]), *row[_STATUS + 1 :])
        for row in (msgspec.structs.astuple(one.row) for one in unborn)
    ]
    numbers = {name: no for no, name in (yield Find("insert_jobs", rows))}
    started: list[Started] = []
    born: list[_Unborn] = []
    for one in unborn:
        no = numbers.pop(one.row.id, None)
        if no is None:
            row = yield from jobs.by_id(one.row.id)
            started.append(Started(row, created=False, events=[]))
            continue
        one.row.no = no
        born.append(one)
        started.append(Started(one.row, created=True, events=one.events if one.row.worker else []))
    yield from _write(born)
    return started


def _write(born: Sequence[_Unborn]) -> Op[None]:
    """Write what belongs to new rows."""
    lines = [(one.row.no, *line) for one in born for line in one.sealed.lines]
    if lines:
        yield Many("append_events", lines)
    payloads = [(key, data.decode()) for one in born for key, data in one.sealed.payloads]
    if payloads:
        yield Many("keep_payloads", payloads)
    labels = [(name, value, one.row.no) for one in born for name, value in one.labels.items()]
    if labels:
        yield Many("insert_labels", labels)


def _unborn(wanted: Submission) -> _Unborn:
    new, now, worker = wanted
    event = new.event
    event.at = event.at or now
    row = JobRow(
        no=0,
        id=new.id,
        agent=event.agent,
        version=event.version,
        status=JobState.QUEUED,
        parked="",
        priority=event.priority,
        queue=event.queue,
        run_at=event.run_at,
        wake_at=0,
        worker="",
        epoch=0,
        seq=0,
        head=chain.genesis(new.id),
        inbox_seq=0,
        inbox_done=0,
        parent=event.parent,
        root=event.root or new.id,
        key=event.key,
        retry_of=event.retry_of,
        created_at=event.at,
        started_at=0,
        finished_at=0,
        ended_seq=0,
    )
    events: list[AnyEvent] = [event]
    sealed = chain.seal(row.seq, row.head, row.epoch, [event])
    row.seq, row.head = sealed.lines[-1].seq, sealed.lines[-1].hash
    if worker:
        row.status = advance(JOB, row.status, JobState.RUNNING)
        row.worker, row.epoch, row.started_at = worker, 1, now
        events.append(ev.JobClaimed(at=now, worker=worker))
        claimed = chain.seal(row.seq, row.head, row.epoch, events[1:])
        sealed.lines.extend(claimed.lines)
        row.seq, row.head = claimed.lines[-1].seq, claimed.lines[-1].hash
    return _Unborn(row, sealed, events, event.labels)
