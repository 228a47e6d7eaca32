"""Operations on workers and their leases."""

import msgspec

from aetheris_cli.domain import events as ev
from aetheris_cli.domain.records import JobRow, WorkerRow
from aetheris_cli.domain.states import JOB, JobState, WorkerState, advance
from aetheris_cli.store import jobs
from aetheris_cli.store.requests import Op, Q


def register(worker: WorkerRow) -> Op[None]:
    """Begin a lease."""
    yield Q("add_worker", msgspec.structs.asdict(worker))


def beat(worker: str, now: int, expires_at: int) -> Op[bool]:
    """Prolong a lease. False: it is gone, and all that the worker held with it."""
    rows = yield Q("beat", {"id": worker, "now": now, "expires_at": expires_at})
    return bool(rows)


def end(
    worker: str, status: WorkerState, now: int, *, released: bool, beat: int = 0
) -> Op[list[JobRow]]:
    """End a lease with a WorkerState and queue all its jobs again.

    One transaction: a job is never without either an owner or a place in the queue. Gives the
    jobs; nothing when the lease had ended already. `released`: the worker gives them back itself.
    `beat`: the last sign of life that the judgement rests on; a later one refutes it.
    """
    if not (yield Q("end_worker", {"id": worker, "status": str(status), "beat": beat})):
        return []
    reason = "released" if released else "worker_died"
    rows = []
    for found in (yield Q("jobs_of_worker", {"worker": worker})):
        # What was unread of one of them may have changed the next: a cancel goes to the children.
        row = yield from jobs.by_no(found[0])
        rows.append(row)
        row.status = advance(JOB, row.status, JobState.QUEUED)
        row.worker, row.epoch, row.run_at = "", row.epoch + 1, 0
        event = ev.JobQueued(at=now, reason=reason, worker=worker)
        yield from jobs.append(row, [event])
        yield from jobs.save(row)
        yield from jobs.act_on_unread(row, now)
    return rows


def named(worker: str) -> Op[WorkerRow | None]:
    """Give one worker, the living or the dead."""
    rows = yield Q("worker", {"id": worker})
    return WorkerRow(*rows[0]) if rows else None


def alive() -> Op[list[WorkerRow]]:
    """Give the workers that hold a lease, expired or not."""
    return [WorkerRow(*row) for row in (yield Q("workers_alive"))]


def listed(limit: int) -> Op[list[WorkerRow]]:
    """Give the latest workers, the living and the dead."""
    return [WorkerRow(*row) for row in (yield Q("workers_all", {"limit": limit}))]
