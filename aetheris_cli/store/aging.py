"""What going back in time does to the copy that takes the place of a store.

Its generation rises above all that have been there, the workers it names are lost, and every
open job is parked as `restored`. The park comes last: a wish that a former owner had not read
is taken first, so that none of them lifts it.
"""

from pathlib import Path
from typing import Final

import aetheris_cli
from aetheris_cli.domain import events as ev
from aetheris_cli.domain.records import JobRow, Question
from aetheris_cli.domain.states import JOB, JobState, ParkedReason, WorkerState, advance
from aetheris_cli.store import jobs, migrate
from aetheris_cli.store.connection import connect
from aetheris_cli.store.execute import run
from aetheris_cli.store.requests import Op, Q

_OF_THE_MOMENT: Final = frozenset({"pause", "resume"})
"""Wishes that were about the time before: the person is asked anew."""


def age(copy: Path, former: int, now: int, actor: str, name: str) -> tuple[int, int]:
    """Bring a copy up to date, raise its generation above `former`, and park its open jobs.

    All or nothing. Gives the generation, and how many jobs were parked.
    """
    conn = connect(copy)
    try:
        migrate.apply(conn, copy, aetheris_cli.__version__)
        generation = max(former, migrate.generation_of(conn)) + 1
        conn.execute("BEGIN IMMEDIATE")
        parked = run(conn, _park_open(now, actor, f"restored from {name}", generation))
        conn.execute("COMMIT")
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        conn.close()
    return generation, int(parked)


def _park_open(now: int, actor: str, why: str, generation: int) -> Op[int]:
    yield Q("set_meta", {"name": "generation", "value": str(generation)})
    for row in (yield Q("workers_alive")):
        yield Q("end_worker", {"id": row[0], "status": str(WorkerState.LOST), "beat": 0})
    for no in (yield from _open_jobs()):
        # Read anew: what one job had unread may have changed another.
        yield from _without_owner((yield from jobs.by_no(no)), now)
    found = yield from _open_jobs()
    for no in found:
        yield from _park((yield from jobs.by_no(no)), now, actor, why)
    return len(found)


def _open_jobs() -> Op[list[int]]:
    return [jobs.as_job(row).no for row in (yield Q("open_jobs"))]


def _without_owner(row: JobRow, now: int) -> Op[None]:
    """Take a job from the owner that it had then, and act on what that had not read."""
    if row.worker:
        row.status = advance(JOB, row.status, JobState.QUEUED)
        worker, row.worker, row.epoch, row.run_at = row.worker, "", row.epoch + 1, 0
        yield from jobs.append(row, [ev.JobQueued(at=now, reason="restored", worker=worker)])
        yield from jobs.save(row)
    yield from jobs.act_on_unread(row, now, skip=_OF_THE_MOMENT)


def _park(row: JobRow, now: int, actor: str, why: str) -> Op[None]:
    row.status = advance(JOB, row.status, JobState.PARKED)
    row.wake_at, row.parked = 0, ParkedReason.RESTORED
    event = ev.JobParked(at=now, actor=actor, reason=ParkedReason.RESTORED, note=why)
    yield from jobs.append(row, [event])
    question = Question(step="", kind=ParkedReason.RESTORED, since=now, title=why)
    yield from jobs.put_question(row.no, question)
    yield from jobs.save(row)
