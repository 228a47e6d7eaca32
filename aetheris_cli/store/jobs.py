"""Operations on job rows: create, claim, deliver, and what they share.

While a job is owned, everybody else writes to its inbox. When nobody owns it, the wish is
written to the inbox just the same (so that "already decided" can be seen for ever) and taken
into the history at once, by the same function that its owner would have used.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from aetheris_cli.domain import chain, codec, wishes
from aetheris_cli.domain import events as ev
from aetheris_cli.domain.changes import Delivery
from aetheris_cli.domain.errors import Bug, Conflict, NotFound, StoreDamaged
from aetheris_cli.domain.events import AnyEvent
from aetheris_cli.domain.history import History, fold
from aetheris_cli.domain.records import JOB_COLUMNS, InboxRow, JobRow, Question, WorkerRow
from aetheris_cli.domain.states import JOB, JOB_ENDED, JobState, ParkedReason, WorkerState, advance
from aetheris_cli.ports.store import Claimed
from aetheris_cli.store.requests import Find, Many, Op, Q

_EVERYTHING = 2**62
_NONE: frozenset[str] = frozenset()


def as_job(row: Sequence[Any]) -> JobRow:
    """Read a row of the table."""
    job = JobRow(*row)
    job.status = JobState(job.status)
    return job


def by_no(no: int) -> Op[JobRow]:
    """Give the job of that number, which must exist."""
    rows = yield Q("job_by_no", {"no": no})
    if not rows:
        raise Bug(f"job number {no} is gone", why="jobs are never deleted while they run")
    return as_job(rows[0])


def by_id(job_id: str) -> Op[JobRow]:
    """Give the job of that id. Raises NotFound."""
    rows = yield Q("job_by_id", {"id": job_id})
    if not rows:
        raise NotFound(
            f"there is no job {job_id}",
            why="this store has never held it",
            fix="`aetheris jobs` lists what there is",
        )
    return as_job(rows[0])


def save(row: JobRow) -> Op[None]:
    """Write the row back."""
    yield Q("patch_job", msgspec.structs.asdict(row) | {"status": str(row.status)})


def append(row: JobRow, new: Sequence[AnyEvent]) -> Op[None]:
    """Seal `new` to the history of a job that nobody owns, inside the transaction that saw so."""
    sealed = chain.seal(row.seq, row.head, row.epoch, new)
    if not sealed.lines:
        return
    yield from _write(row.no, sealed)
    row.seq, row.head = sealed.lines[-1].seq, sealed.lines[-1].hash


def _write(no: int, sealed: chain.Sealed) -> Op[None]:
    yield Many("append_events", [(no, *line) for line in sealed.lines])
    if sealed.payloads:
        yield Many("keep_payloads", [(key, data.decode()) for key, data in sealed.payloads])


def is_alive(worker: str) -> Op[bool]:
    """Say whether a worker's lease has not been ended."""
    found = yield Q("worker", {"id": worker})
    return bool(found) and WorkerRow(*found[0]).status == WorkerState.ALIVE


def _own(rows: Sequence[JobRow], worker: str, now: int) -> Op[None]:
    """Make `worker` the owner of jobs that nobody owns, in memory, row and history."""
    lines: list[tuple[Any, ...]] = []
    for row in rows:
        events: list[AnyEvent] = []
        if row.status is JobState.PARKED:
            row.status = advance(JOB, row.status, JobState.QUEUED)
            events.append(ev.JobQueued(at=now, reason="woken"))
        row.status = advance(JOB, row.status, JobState.RUNNING)
        row.parked, row.wake_at = "", 0
        row.started_at = row.started_at or now
        sealed = chain.seal(row.seq, row.head, row.epoch, events)
        if sealed.lines:
            row.seq, row.head = sealed.lines[-1].seq, sealed.lines[-1].hash
        row.worker, row.epoch = worker, row.epoch + 1
        claimed = chain.seal(row.seq, row.head, row.epoch, [ev.JobClaimed(at=now, worker=worker)])
        row.seq, row.head = claimed.lines[-1].seq, claimed.lines[-1].hash
        lines += [(row.no, *line) for line in (*sealed.lines, *claimed.lines)]
    yield Many("append_events", lines)
    yield Many(
        "own",
        [(row.no, worker, row.epoch, row.started_at, row.seq, row.head) for row in rows],
    )


def due(agents: frozenset[str]) -> Op[int]:
    """Give the earliest time at which a job of these agents can be claimed; 0: none waits."""
    times = [at for _, at in (yield from _due_of(agents))]
    return min(times, default=0)


def _due_of(agents: frozenset[str]) -> Op[list[tuple[str, int]]]:
    """Give the agents that have jobs to be claimed, now (1) or at a time."""
    if not agents:
        return []
    found = []
    for agent, ready, *times in (yield Find("due_of_agents", [(one,) for one in sorted(agents)])):
        known = [1] if ready else [at for at in times if at is not None]
        if known:
            found.append((agent, min(known)))
    return found


def claim(
    worker: str, limit: int, now: int, agents: frozenset[str], root: str = ""
) -> Op[list[Claimed]]:
    """Give `worker` up to `limit` jobs that are ready, the most urgent first.

    `agents`: what the worker can run; jobs of others, however many, are not looked at. `root`:
    only this job and its children.
    """
    if not (yield from is_alive(worker)):
        return []
    rows: list[JobRow] = []
    if root:
        names = codec.canonical(sorted(agents)).decode()
        found = yield Q(
            "claimable_of_root", {"root": root, "agents": names, "now": now, "limit": limit}
        )
        rows = [as_job(row) for row in found]
    else:
        for agent, at in (yield from _due_of(agents)):
            if at <= now:
                found = yield Q("claimable", {"agent": agent, "now": now, "limit": limit})
                rows += map(as_job, found)
        rows.sort(key=_urgency)
        del rows[limit:]
    if not rows:
        return []
    yield from _own(rows, worker, now)
    histories: dict[int, list[AnyEvent]] = {row.no: [] for row in rows}
    unreadable: dict[int, StoreDamaged] = {}
    for no, _, body in (yield Find("events_of_many", [(row.no,) for row in rows])):
        try:
            histories[no].append((yield from _whole_event(body)))
        except StoreDamaged as error:
            unreadable.setdefault(no, error)
    for row in rows:
        if row.no in unreadable:
            yield from _set_aside(row, unreadable[row.no], now)
    return [Claimed(row, histories[row.no]) for row in rows if row.no not in unreadable]


def _set_aside(row: JobRow, error: StoreDamaged, now: int) -> Op[None]:
    """Park a job whose history cannot be read: it must not be in the way of the others."""
    row.status = advance(JOB, JobState.RUNNING, JobState.PARKED)
    row.parked, row.worker = ParkedReason.CRASH_LOOP, ""
    title = f"its history cannot be read: {error.why}"
    yield from append(row, [ev.JobParked(at=now, reason=row.parked, note=title)])
    yield from save(row)
    yield from put_question(row.no, Question("", ParkedReason.CRASH_LOOP, now, title))


def _urgency(row: JobRow) -> tuple[int, int, int]:
    """Order what can be claimed: what has waited parked, then delayed, then by priority and age."""
    if row.status is JobState.PARKED:
        return 0, row.wake_at, row.no
    if row.run_at:
        return 1, row.run_at, row.no
    return 2, -row.priority, row.no


def put_question(no: int, question: Question) -> Op[None]:
    """Open a question."""
    yield Q("ask", msgspec.structs.asdict(question) | {"job_no": no})


def deliver(delivery: Delivery, now: int) -> Op[wishes.Receipt]:
    """Put a wish into a job's inbox, and act on it at once when nobody owns the job.

    The same `dedupe` gives the first wish's receipt again. Raises NotFound, and Conflict when
    the job is in no state for it.
    """
    row = yield from by_id(delivery.job)
    question = None
    if delivery.step:
        found = yield Q("question", {"no": row.no, "step": delivery.step})
        question = Question(*found[0]) if found else None
    same = wishes.dedupe(delivery, question)
    rows = yield Q("inbox_dedupe", {"job_no": row.no, "dedupe": same})
    if rows:
        return wishes.Receipt(new=False, first=InboxRow(*rows[0]))
    pausing = delivery.kind == "resume" and (yield from _is_pausing(row))
    wishes.check(row, delivery, question, now, pausing=pausing)
    if not row.worker and row.inbox_done < row.inbox_seq:
        yield from act_on_unread(row, now)
        wishes.check(row, delivery, question, now)
    wish = InboxRow(
        row.inbox_seq + 1, delivery.kind, delivery.step, delivery.actor, now, delivery.body
    )
    yield Q(
        "put_inbox",
        msgspec.structs.asdict(wish) | {"job_no": row.no, "dedupe": same},
    )
    row.inbox_seq = wish.n
    if row.worker:
        yield Q("bump_inbox", {"n": wish.n, "done": 0, "no": row.no})
        return wishes.Receipt(new=True, first=wish, owner=row.worker)
    row.inbox_done = wish.n
    yield from _act(row, wish, now)
    return wishes.Receipt(new=True, first=wish, woken=row.status is JobState.QUEUED)


def _is_pausing(row: JobRow) -> Op[bool]:
    """Whether the owner has been told to pause and has not done so yet."""
    latest = yield Q("latest_hold", {"no": row.no})
    return bool(row.worker and latest and latest[0][0] == "pause")


def _act(row: JobRow, wish: InboxRow, now: int) -> Op[None]:
    """Take a wish into the history of a job that nobody owns."""
    history = History()
    if wishes.needs_history(wish):
        try:
            history = yield from whole(row.no)
        except StoreDamaged:
            if wish.kind != "cancel":
                raise
            # To end a job must always be possible. What it had in flight cannot be listed.
    waits = [Question(*found) for found in (yield Q("questions_of", {"no": row.no}))]
    taken = wishes.take(wish, row, history, waits, now)
    yield from append(row, taken.events)
    for question in taken.ask:
        yield from put_question(row.no, question)
    for step in taken.answered:
        yield Q("answered", {"job_no": row.no, "step": step})
    yield from _move(row, taken, now)
    yield from save(row)
    if wish.kind in {"settle", "cancel"}:
        yield from wake_for_keys([row.no], now)
    for more in taken.deliver:
        yield from deliver_quietly(more, now)
    if row.status in JOB_ENDED:
        yield from tell_family(row, now)


def _move(row: JobRow, taken: wishes.Taken, now: int) -> Op[None]:
    """Give an unowned job the status that a wish leads to."""
    if taken.status is not None and taken.status is not row.status:
        row.status = advance(JOB, row.status, taken.status)
        row.wake_at = 0
        if row.status is JobState.QUEUED:
            row.run_at = 0
            yield from append(row, [ev.JobQueued(at=now, reason=taken.reason)])
        elif row.status in JOB_ENDED:
            row.finished_at, row.ended_seq = now, row.seq
            yield Many("drop_waits", [(row.no,)])
    if row.status is not JobState.PARKED:
        row.parked = ""
    elif taken.parked:
        row.parked, row.wake_at = taken.parked, 0


def deliver_quietly(delivery: Delivery, now: int) -> Op[None]:
    """Deliver to a job that may have ended meanwhile; then there is nothing to do."""
    try:
        yield from deliver(delivery, now)
    except (Conflict, NotFound):
        return


def wake_for_keys(numbers: Sequence[int], now: int) -> Op[None]:
    """Wake whoever waits for a global key that one of these jobs holds."""
    for job_id, step in (yield Find("waiting_for_jobs", [(no,) for no in numbers])):
        yield from deliver_quietly(wishes.key_freed(job_id, step), now)


def wake_for_key(no: int, step: str, now: int) -> Op[None]:
    """Wake whoever waits for the global key that this call holds."""
    for job_id, waiting in (yield Q("waiting_for_call", {"no": no, "step": step})):
        yield from deliver_quietly(wishes.key_freed(job_id, waiting), now)


def tell_family(row: JobRow, now: int) -> Op[None]:
    """After the end of a job that nobody owned: tell its parent, and cancel its children."""
    if row.status is JobState.CANCELLED:
        rows = yield Q("children_of", {"low": f"{row.id}.", "high": f"{row.id}/"})
        for child in map(as_job, rows):
            if child.status not in JOB_ENDED:
                yield from deliver_quietly(wishes.cancel_child(row.id, child.id), now)
    if row.parent:
        end = yield from events_after(row.no, row.ended_seq - 1, 1)
        yield from deliver_quietly(wishes.child_finished(row, end[0]), now)


def events_after(no: int, after: int, limit: int, *, whole: bool = True) -> Op[list[AnyEvent]]:
    """Give events of a job, with their large payloads in place if `whole`."""
    rows = yield Q("events_of", {"no": no, "after": after, "limit": limit})
    found = []
    for _, body, _ in rows:
        found.append((yield from _whole_event(body)) if whole else _event(body))
    return found


def _event(body: str) -> AnyEvent:
    """Read a stored line. Raises StoreDamaged."""
    try:
        return ev.decode(body)
    except msgspec.MsgspecError as error:
        raise StoreDamaged(
            "an event of the job cannot be read",
            why=str(error),
            fix="`aetheris store check` says which; a job that cannot be read can be cancelled",
        ) from error


def _whole_event(body: str) -> Op[AnyEvent]:
    """Read a stored line, with large payloads put back in place. Raises StoreDamaged."""
    event = _event(body)
    for field, key in (event.refs or {}).items():
        kept = yield Q("payload", {"digest": key})
        if kept:
            setattr(event, field, msgspec.Raw(kept[0][0].encode()))
    return event


def whole(no: int) -> Op[History]:
    """Fold the whole history of a job."""
    return fold((yield from events_after(no, 0, _EVERYTHING)))


def act_on_unread(row: JobRow, now: int, skip: frozenset[str] = _NONE) -> Op[None]:
    """Take what the former owner has not read from the inbox into the history.

    A wish may lead to another one for this very job: a settlement frees the key that another of
    its calls waits for. Taking that one takes all that is unread, so the row is looked at again.
    Kinds of wishes in `skip` are passed over, for good.
    """
    while row.inbox_done < row.inbox_seq:
        found = yield Q("inbox_after", {"no": row.no, "after": row.inbox_done})
        if not found:
            return  # somebody has deleted it: `store check` says so
        wish = InboxRow(*found[0])
        row.inbox_done = wish.n
        late = row.status in JOB_ENDED and wish.kind not in {"settle", "evidence"}
        if late or wish.kind in skip:
            yield from save(row)
            continue
        try:
            yield from _act(row, wish, now)
        except StoreDamaged:
            row.inbox_done = wish.n - 1
            return  # its history cannot be read; the other jobs of its owner must go on
        yield from _look_again(row)


def _look_again(row: JobRow) -> Op[None]:
    fresh = yield from by_no(row.no)
    for name in JOB_COLUMNS:
        setattr(row, name, getattr(fresh, name))
