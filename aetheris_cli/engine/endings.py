"""The changes that give a job away: its end, a park, a release. Pure: they decide nothing."""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Raw

from aetheris_cli.domain import changes, codec, wishes
from aetheris_cli.domain import events as ev
from aetheris_cli.domain.changes import Change
from aetheris_cli.domain.errors import AetherisError, InvalidPayload
from aetheris_cli.domain.events import AnyEvent, Error
from aetheris_cli.domain.history import History
from aetheris_cli.domain.records import JobRow, Question
from aetheris_cli.domain.states import JobState, ParkedReason

_WORDS: Final = 2_000
TIMED_OUT: Final = "job_timed_out"
"""The kind of error of a job whose own time was over."""


def words(error: BaseException | None) -> Error:
    """Describe an exception without its traceback. It may be an author's, and hostile."""
    kind = error.code if isinstance(error, AetherisError) else "exception"
    return Error(kind, text_of(error), type(error).__name__)


def text_of(error: object) -> str:
    """Give what an author gave or raised as a bounded text, whatever its `__str__` does."""
    try:
        text = str(error)
    except Exception as problem:  # noqa: BLE001 - the author's code
        text = f"(its message could not be read: {type(problem).__name__})"
    return text[:_WORDS].encode("utf-8", "replace").decode()


Result: TypeAlias = ev.JobSucceeded | ev.JobFailed


def result(
    agent: str,
    value: Any,  # noqa: ANN401 - what the agent returned
    error: BaseException | None,
    history: History,
    now: int,
) -> Result:
    """Give the event that the end of the agent's code is."""
    if error is None:
        try:
            output = Raw(codec.canonical(value, f"what agent {agent} returned"))
            return ev.JobSucceeded(at=now, cause=history.seq, output=output)
        except InvalidPayload as problem:
            error = problem
    return ev.JobFailed(at=now, cause=history.seq, error=words(error))


def ended(row: JobRow, history: History, event: Result) -> Change:
    """End the job by what its code did. Children of a job that has failed end with it."""
    children = _cancel_children(row, history) if isinstance(event, ev.JobFailed) else ()
    return changes.ended(event, deliver=[*children, *_to_parent(row, event)])


def cancelled(row: JobRow, history: History, wish: ev.JobAsked, now: int) -> Change:
    """End the job by a person's wish, and say of what is in flight that nobody knows."""
    end, before, ask = wishes.cancelled(history, wish.actor, wish.reason, now)
    end.cause = wish.seq
    return _cut_off(row, history, end, before, ask)


def timed_out(row: JobRow, history: History, limit_ms: int, now: int) -> Change:
    """End the job because its time is over, and say of what is in flight that nobody knows."""
    before, ask = wishes.left_open(history, "the job's time was over while the call was open", now)
    error = Error(TIMED_OUT, f"the job did not end within {limit_ms / 1_000:g} s")
    end = ev.JobFailed(at=now, cause=history.seq, error=error)
    return _cut_off(row, history, end, before, ask)


def _cut_off(
    row: JobRow,
    history: History,
    end: ev.JobCancelled | ev.JobFailed,
    before: Sequence[AnyEvent],
    ask: Sequence[Question],
) -> Change:
    """End a job whose code has not ended, and its children with it."""
    deliver = [*_cancel_children(row, history), *_to_parent(row, end)]
    return changes.ended(end, before=before, ask=ask, deliver=deliver)


def _cancel_children(row: JobRow, history: History) -> list[changes.Delivery]:
    return [
        wishes.cancel_child(row.id, step.child)
        for step in history.steps.values()
        if step.child and not step.done
    ]


def _to_parent(row: JobRow, event: Result | ev.JobCancelled) -> Sequence[changes.Delivery]:
    if not row.parent:
        return ()
    as_ended = msgspec.structs.replace(row, status=_STATUS[type(event)])
    return [wishes.child_finished(as_ended, event)]


_STATUS: Final = {
    ev.JobSucceeded: JobState.SUCCEEDED,
    ev.JobFailed: JobState.FAILED,
    ev.JobCancelled: JobState.CANCELLED,
}


def parked(
    history: History,
    reason: ParkedReason,
    now: int,
    *,
    steps: tuple[str, ...] = (),
    until: int = 0,
    title: str = "",
    note: str = "",
) -> Change:
    """Put the job away. `title`: what a person is asked about the job as a whole."""
    event = ev.JobParked(
        at=now, cause=history.seq, reason=reason, steps=steps, until=until, note=note or title
    )
    ask: tuple[Question, ...] = ()
    if title:
        details = codec.canonical(note).decode() if note else ""
        ask = (Question(step="", kind=reason, since=now, title=title, details=details),)
    return changes.parked(event, reason, wake_at=until, ask=ask)


def paused(wish: ev.JobAsked, now: int) -> Change:
    """Put the job away because a person said so."""
    event = ev.JobParked(at=now, cause=wish.seq, actor=wish.actor, reason=ParkedReason.PAUSED)
    ask = Question(step="", kind=ParkedReason.PAUSED, since=now, title="paused by a person")
    return changes.parked(event, ParkedReason.PAUSED, ask=(ask,))


def released(worker: str, now: int) -> Change:
    """Give the job back for another worker to claim."""
    return changes.released(ev.JobQueued(at=now, reason="released", worker=worker))
