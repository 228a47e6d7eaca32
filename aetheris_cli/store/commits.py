"""The owner's commit: many changes of many jobs, fenced, in one transaction.

The usual case is one guarded statement that moves all heads and one that appends all events.
When a guard does not hold, everything is undone and each job is looked at by itself: what
still holds is written, and the first change that does not takes down the later ones of its
job, because they were built on it.
"""

from collections.abc import Sequence
from typing import Any

from aetheris_cli.domain.changes import Change, RowPatch
from aetheris_cli.domain.records import JobRow
from aetheris_cli.domain.states import JOB, JOB_ENDED, JobState, ParkedReason, advance
from aetheris_cli.ports.store import Refused
from aetheris_cli.store import jobs
from aetheris_cli.store.requests import Many, Op, Q


class _GuardFailed(Exception):
    """Some job is no longer as its owner believes."""


def commit(changes: Sequence[Change], now: int) -> Op[list[Refused]]:
    """Write all changes whose guards hold; give the rest."""
    groups: dict[int, list[Change]] = {}
    for change in changes:
        groups.setdefault(change.no, []).append(change)
    yield Q("point")
    try:
        yield from _apply(groups, now)
    except _GuardFailed:
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
    head = next(change.lines[-1] for change in reversed(group) if change.lines)
    inbox = guards.pop() if guards else None
    return [first.no, first.worker, first.epoch, first.after_seq, head.seq, head.hash, inbox]


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
    yield Many("append_events", lines)
    for no, group in groups.items():
        for change in group:
            if change.payloads:
                yield Many("keep_payloads", [(key, data.decode()) for key, data in change.payloads])
            if not change.simple:
                yield from _beside(no, change, now)


def _beside(no: int, change: Change, now: int) -> Op[None]:
    """Write what a change does beyond the history."""
    for question in change.ask:
        yield from jobs.put_question(no, question)
    for step in change.answered:
        yield Q("answered", {"job_no": no, "step": step})
    for new in change.spawn:
        yield from jobs.insert(new, now)
    if change.patch is not None:
        row = yield from jobs.by_no(no)
        patched(row, change.patch)
        if change.patch.ended:
            row.ended_seq = change.lines[-1].seq
            yield Q("drop_waits", {"job_no": no})
        yield from jobs.save(row)
    for delivery in change.deliver:
        yield from jobs.deliver(delivery, now)


def patched(row: JobRow, patch: RowPatch) -> None:
    """Change `row` as `patch` says; an illegal move of the status raises IllegalTransition."""
    if patch.status is not None and patch.status is not row.status:
        row.status = advance(JOB, row.status, patch.status)
    if patch.parked is not None:
        row.parked = patch.parked
    if row.status is not JobState.PARKED:
        row.parked = ""
    else:
        ParkedReason(row.parked)
    if row.status in JOB_ENDED:
        row.finished_at = patch.finished_at or row.finished_at
    for name in ("worker", "run_at", "wake_at", "inbox_done"):
        value = getattr(patch, name)
        if value is not None:
            setattr(row, name, value)
