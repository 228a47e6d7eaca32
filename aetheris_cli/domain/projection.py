"""What the tables must hold about a job: the projections, made again from its history alone.

Every write puts events and rows down together. This is the other half of that promise: given
the events in order, it says what the rows must be, so that `store check` can hold what stands
in the file against what must stand there. It keeps no author's value that no row shows.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from aetheris_cli.domain import codec, wishes
from aetheris_cli.domain import events as ev
from aetheris_cli.domain.events import NONE, AnyEvent
from aetheris_cli.domain.history import History, Step, fold
from aetheris_cli.domain.ledger import Effect
from aetheris_cli.domain.records import Question
from aetheris_cli.domain.states import CONTRADICTED, RESUMABLE, ParkedReason

OF_A_CALL: Final = frozenset({"in_doubt", CONTRADICTED})
"""The questions that outlive their job."""
_SHOWN: Final = frozenset({"args", "details"})
"""The values of authors that a question shows."""


class Asked(msgspec.Struct):
    """A question that must be open."""

    question: Question
    large: str = ""
    """The digest of its details, when they are kept outside the event."""
    begins: str = ""
    """All that the history holds of its title, where that is not the whole."""


class Projection(msgspec.Struct):
    """What the events read so far make of the rows."""

    history: History = msgspec.field(default_factory=History)
    run_at: int = 0
    started_at: int = 0
    questions: dict[str, Asked] = msgspec.field(default_factory=dict)
    """By step; "" is the job as a whole. Waits for a global key leave no event: see `keyed`."""
    keyed: frozenset[str] = frozenset()
    """The steps that must have a question about a global key; others may."""
    told: dict[str, str] = msgspec.field(default_factory=dict)
    """How children ended, by step, as far as this job has been told."""

    def add(self, event: AnyEvent) -> None:
        """Take the next event. Raises ValueError for one that no version has written."""
        for field in event.values:
            if field not in _SHOWN:
                setattr(event, field, NONE)
        fold((event,), self.history)
        react = _REACT.get(type(event))
        if react is not None:
            react(self, event)

    @property
    def labels(self) -> Mapping[str, str]:
        """The job's labels."""
        first = self.history.submitted
        return first.labels if first is not None else {}

    def row(self, job: str, head: bytes) -> dict[str, Any]:
        """Give the columns of the job's row, all but its number and those about the inbox."""
        history, first = self.history, self.history.submitted
        if first is None:
            return {}
        parked, ended = history.parked, history.ended
        return {
            "agent": first.agent,
            "version": first.version,
            "status": str(history.status),
            "parked": parked.reason if parked is not None else "",
            "priority": first.priority,
            "queue": first.queue,
            "run_at": self.run_at,
            "wake_at": parked.until if parked is not None else 0,
            "worker": history.worker,
            "epoch": history.epoch,
            "seq": history.seq,
            "head": head,
            "parent": first.parent,
            "root": first.root or job,
            "key": first.key,
            "retry_of": first.retry_of,
            "created_at": first.at,
            "started_at": self.started_at,
            "finished_at": ended.at if ended is not None else 0,
            "ended_seq": ended.seq if ended is not None else 0,
        }


# --- the job ---------------------------------------------------------------------------------


def _submitted(so_far: Projection, event: ev.JobSubmitted) -> None:
    so_far.run_at = event.run_at


def _claimed(so_far: Projection, event: ev.JobClaimed) -> None:
    so_far.started_at = so_far.started_at or event.at
    # From here on its calls ask for their keys again, which leaves no event.
    so_far.keyed = frozenset()


def _queued(so_far: Projection, event: ev.JobQueued) -> None:
    if event.reason != "woken":  # this one is a claim's
        so_far.run_at = 0
    if event.reason == "resumed":
        so_far.questions.pop("", None)


def _parked(so_far: Projection, event: ev.JobParked) -> None:
    if event.reason in RESUMABLE:
        so_far.questions[""] = _whole(event)
    elif event.steps:
        # All other waits have begun with an event.
        so_far.keyed = frozenset(event.steps) - so_far.history.steps.keys()


def _whole(event: ev.JobParked) -> Asked:
    """Ask about the job as a whole."""
    question = Question(step="", kind=event.reason, since=event.at, title=event.note)
    if event.reason == ParkedReason.PAUSED:
        question.title = "paused by a person"
    if event.reason != ParkedReason.DIVERGED:
        return Asked(question)
    # The note of a divergence is the hint; what differs stands in the title alone.
    question.details = codec.canonical(event.note).decode()
    return Asked(question, begins=f"step {''.join(event.steps)}: the history has ")


def _ended(so_far: Projection, _event: AnyEvent) -> None:
    so_far.keyed = frozenset()
    left = so_far.questions
    so_far.questions = {at: one for at, one in left.items() if one.question.kind in OF_A_CALL}


# --- its steps -------------------------------------------------------------------------------


def _approval(so_far: Projection, event: ev.ApprovalRequested) -> None:
    question = Question(
        step=event.step, kind="approval", since=event.at, title=event.title, digest=event.digest,
        role=event.role, until=event.expires_at, details=bytes(event.details).decode(),
    )  # fmt: skip
    so_far.questions[event.step] = Asked(question, large=(event.refs or {}).get("details", ""))


def _signal(so_far: Projection, event: ev.SignalAwaited) -> None:
    question = Question(
        step=event.step, kind="signal", since=event.at, name=event.name, until=event.until
    )
    so_far.questions[event.step] = Asked(question)


def _child(so_far: Projection, event: ev.ChildStarted) -> None:
    question = Question(step=event.step, kind="child", since=event.at, name=event.child)
    so_far.questions[event.step] = Asked(question)


def _answered(so_far: Projection, event: AnyEvent) -> None:
    so_far.questions.pop(event.step, None)
    if isinstance(event, ev.ChildFinished):
        so_far.told[event.step] = event.status


def _call_ended(so_far: Projection, event: ev.CallSucceeded | ev.CallFailed) -> None:
    step = so_far.history.steps[event.step]
    if step.key and step.effect != Effect.PURE:
        so_far.questions.pop(event.step, None)


def _in_doubt(so_far: Projection, event: ev.CallInDoubt) -> None:
    # What the end of a job leaves open follows from no event of the call.
    words = event.error.message
    if event.cause:
        words = f"{words or event.error.kind}: whether it happened is unknown"
    so_far.questions[event.step] = _doubt(so_far.history.steps[event.step], words, event.at)


def _evidence(so_far: Projection, event: ev.CallEvidence) -> None:
    if event.contradicts:
        asked = _doubt(
            so_far.history.steps[event.step], wishes.contradiction(event.error), event.at
        )
        asked.question.kind = CONTRADICTED
        so_far.questions[event.step] = asked


def _doubt(step: Step, why: str, at: int) -> Asked:
    return Asked(
        wishes.doubt_question(step.id, step.name, step.digest, step.schema, step.args, why, at)
    )


_REACT: Final[dict[type, Callable[[Projection, Any], None]]] = {
    ev.JobSubmitted: _submitted,
    ev.JobClaimed: _claimed,
    ev.JobQueued: _queued,
    ev.JobParked: _parked,
    ev.JobSucceeded: _ended,
    ev.JobFailed: _ended,
    ev.JobCancelled: _ended,
    ev.ApprovalRequested: _approval,
    ev.ApprovalDecided: _answered,
    ev.SignalAwaited: _signal,
    ev.SignalConsumed: _answered,
    ev.ChildStarted: _child,
    ev.ChildFinished: _answered,
    ev.CallSucceeded: _call_ended,
    ev.CallFailed: _call_ended,
    ev.CallInDoubt: _in_doubt,
    ev.CallSettled: _answered,
    ev.CallEvidence: _evidence,
}
