"""The owner's commit: many changes of many jobs, fenced, in one transaction.

The usual case is one guarded statement that moves all heads and one that appends all events.
When a guard does not hold, everything is undone and each job is looked at by itself: what
still holds is written, and the first change that does not takes down the later ones of its
job, because they were built on it.
"""

from collections.abc import Sequence
from typing import Any

from aetheris_cli.domain.changes import Change, RowPatch
from aetheris_cli.domain.states import JOB, JOB_ENDED, JobState, ParkedReason, advance
from aetheris_cli.ports.store import Refused
from aetheris_cli.store import jobs
from aetheris_cli.store.requests import Many, Op, Q
from aetheris_cli.store.submissions import Submission, insert_all


class _GuardFailed(Exception):
    """Some job is no longer as its owner believes."""


def commit(changes: Sequence[Change], now: int) -> Op[list[Refused]]:
    """Write all changes whose guards hold; give the rest."""
    groups: dict[int, list[Change]] = {}
    for change in changes:
        groups.setdefault(change.no, []).append(change)
    several = len(groups) > 1
    if several:
        yield Q("point")
    try:
        yield from _apply(groups, now)
    except _GuardFailed:
        if several:  # one whose guard fails has changed nothing
            yield Q("undo")
        refused = yield from _sift(groups)
        if groups:
            yield from _apply(groups, now)
        return refused
    return []


def _sift(groups: dict[int, list[Change]]) -> Op[list[Refused]]:
    """Take out of `groups` what cannot be written any more."""
    refused = []
    for no in list(groups):
        row = yield from jobs.by_no(no)
        good, bad = groups[no], []
        stale = False
        seq = row.seq
        for at, change in enumerate(good):
            if (row.worker, row.epoch, seq) != (change.worker, change.epoch, change.after_seq):
                bad = good[at:]
                break
            if change.inbox and change.inbox_seq != row.inbox_seq:
                bad, stale = good[at:], True
                break
            seq = change.lines[-1].seq if change.lines else seq
            if change.patch is not None and change.patch.worker == "":
                bad = good[at + 1 :]
                break
        if bad:
            refused.append(Refused(stale, bad))
            groups[no] = good[: len(good) - len(bad)]
            if not groups[no]:
                del groups[no]
    return refused


def _guard(group: list[Change]) -> list[Any]:
    """Give the row of the fence: what the job must be, and the head it gets."""
    first = group[0]
    guards = {change.inbox_seq for change in group if change.inbox}
    if len(guards) > 1:
        raise _GuardFailed
    seq, head = first.after_seq, first.after_head
    for change in reversed(group):
        if change.lines:
            seq, head = change.lines[-1].seq, change.lines[-1].hash
            break
    inbox = guards.pop() if guards else None
    return [first.no, first.worker, first.epoch, first.after_seq, seq, head, inbox]


def _apply(groups: dict[int, list[Change]], now: int) -> Op[None]:
    fences = [_guard(group) for group in groups.values()]
    if (yield Many("head_jobs", fences)) != len(fences):
        raise _GuardFailed
    lines = [
        (no, line.seq, line.body, line.hash)
        for no, group in groups.items()
        for change in group
        for line in change.lines
    ]
    if lines:
        yield Many("append_events", lines)
    payloads = [
        (key, data.decode())
        for group in groups.values()
        for change in group
        for key, data in change.payloads
    ]
    if payloads:
        yield Many("keep_payloads", payloads)
    beside = [change for group in groups.values() for change in group if not change.simple]
    if beside:
        yield from _beside(beside, now)


def _beside(changes: list[Change], now: int) -> Op[None]:
    """Write what changes do beyond the histories.

    Rows and questions first, other jobs last: a wish that one job sends to another must find
    it as this very commit leaves it, owned or parked.
    """
    patches = [(change, change.patch) for change in changes if change.patch is not None]
    yield from _rows(patches)
    for change in changes:
        for question in change.ask:
            yield from jobs.put_question(change.no, question)
        for step in change.answered:
            yield Q("answered", {"job_no": change.no, "step": step})
    ended = [(one.no,) for one, patch in patches if patch.ended]
    if ended:
        yield Many("drop_waits", ended)
    yield from insert_all([Submission(new, now) for change in changes for new in change.spawn])
    yield from _tell_others(changes, [row[0] for row in ended], now)


def _tell_others(changes: list[Change], ended: list[int], now: int) -> Op[None]:
    """Put what other jobs have to know of these changes into their inboxes."""
    for change in changes:
        for event in change.events if change.keyed else ():
            yield from jobs.wake_for_key(change.no, event.step, now)
    if ended:
        yield from jobs.wake_for_keys(ended, now)
    for change in changes:
        for delivery in change.deliver:
            yield from jobs.deliver_quietly(delivery, now)


def _rows(patches: list[tuple[Change, RowPatch]]) -> Op[None]:
    # The last of several of one job counts: a statement must not meet a row twice.
    read = {one.no: patch.inbox_done for one, patch in patches if patch.inbox_done is not None}
    if read:
        yield Many("mark_read", list(read.items()))
    given = {one.no: _given(one, patch) for one, patch in patches if patch.status is not None}
    if given:
        yield Many("give_away", list(given.values()))


def _given(change: Change, patch: RowPatch) -> tuple[Any, ...]:
    """Give the row of a job that its owner gives away; an illegal move raises.

    The fence holds, so the job is its owner's, and what is owned is running.
    """
    status = advance(JOB, JobState.RUNNING, patch.status or JobState.RUNNING)
    parked = ParkedReason(patch.parked or "") if status is JobState.PARKED else ""
    ended = change.lines[-1].seq if status in JOB_ENDED else 0
    return (
        change.no, str(status), str(parked), patch.run_at, patch.wake_at or 0,
        patch.finished_at or 0, ended,
    )  # fmt: skip
