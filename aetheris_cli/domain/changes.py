"""Every write of an owner is a Change: guard, events and new state, made together.

Only the constructors below make one, so state without history cannot be written. A change is
sealed (numbered and chained) when it is queued; the store applies it if the guard still holds:
the job belongs to this worker in this epoch, its history ends where the change begins, and,
where `inbox` is set, nothing has arrived in the job's inbox that its owner has not read.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from aetheris_cli.domain import chain
from aetheris_cli.domain import events as ev
from aetheris_cli.domain.chain import Line
from aetheris_cli.domain.events import AnyEvent
from aetheris_cli.domain.records import Question
from aetheris_cli.domain.states import JobState, ParkedReason


class NewJob(msgspec.Struct, frozen=True):
    """A job to be created, with its first event."""

    id: str
    event: ev.JobSubmitted


class Delivery(msgspec.Struct, frozen=True):
    """A wish for another job's inbox."""

    job: str
    kind: str
    step: str
    body: str
    dedupe: str
    actor: str = ""


class RowPatch(msgspec.Struct, frozen=True, kw_only=True):
    """What a change does to the job's row beyond seq and head; None leaves a column alone."""

    status: JobState | None = None
    parked: str | None = None
    worker: str | None = None
    run_at: int | None = None
    wake_at: int | None = None
    finished_at: int | None = None
    ended: bool = False
    inbox_done: int | None = None


class Change(msgspec.Struct):
    """One guarded write of a job's owner."""

    events: list[AnyEvent]
    inbox: bool = False
    """Whether an unread inbox refuses it."""
    patch: RowPatch | None = None
    ask: Sequence[Question] = ()
    answered: Sequence[str] = ()
    """Steps whose questions are closed by this change."""
    deliver: Sequence[Delivery] = ()
    spawn: Sequence[NewJob] = ()
    keyed: bool = False
    """Whether it may end a call that holds a global key."""
    # set when it is queued
    no: int = 0
    job: str = ""
    worker: str = ""
    epoch: int = 0
    after_seq: int = 0
    after_head: bytes = b""
    inbox_seq: int = 0
    lines: list[Line] = msgspec.field(default_factory=list)
    payloads: list[tuple[str, bytes]] = msgspec.field(default_factory=list)
    owner: Any = None
    """The run that queued it, told when the change is refused."""
    on_durable: Callable[[], None] | None = None
    on_overtaken: Callable[[], None] | None = None
    """Where set, a wish that arrives first takes the change's place: it is dropped, and told."""

    @property
    def gives_away(self) -> bool:
        """Whether the job has no owner after it."""
        return self.patch is not None and self.patch.status is not None

    @property
    def simple(self) -> bool:
        """Whether it touches nothing but the history."""
        return self.patch is None and not (
            self.ask or self.answered or self.deliver or self.spawn or self.keyed
        )


class Tip(msgspec.Struct):
    """Where a job's history ends in its owner's memory; the next change is sealed to it."""

    no: int
    job: str
    worker: str
    epoch: int
    seq: int
    head: bytes
    inbox_seq: int

    def seal(self, change: Change) -> Change:
        """Give the events of `change` numbers and hashes, and move the tip behind them."""
        change.no, change.job, change.worker = self.no, self.job, self.worker
        change.epoch, change.after_seq, change.inbox_seq = self.epoch, self.seq, self.inbox_seq
        change.after_head = self.head
        change.lines, change.payloads = chain.seal(self.seq, self.head, self.epoch, change.events)
        if change.lines:
            last = change.lines[-1]
            self.seq, self.head = last.seq, last.hash
        return change


def intended(event: ev.CallIntended) -> Change:
    """Make an attempt of an effectful call known before it is sent."""
    return Change([event], inbox=True)


def recorded(*events: AnyEvent) -> Change:
    """Keep what was received or decided: results, retries, values, logs. Never refused by inbox."""
    return Change(list(events))


def in_doubt(event: ev.CallInDoubt, question: Question) -> Change:
    """Say that nobody knows whether the call happened."""
    return Change([event], ask=(question,))


def closed(event: AnyEvent) -> Change:
    """Give the outcome of a step about which a question was open."""
    return Change([event], answered=(event.step,))


def asked(event: AnyEvent, question: Question, spawn: Sequence[NewJob] = ()) -> Change:
    """Begin to wait: for a person, a signal, a time or a child.

    A child is work of its own: none begins after an acknowledged cancel.
    """
    return Change([event], inbox=bool(spawn), ask=(question,), spawn=spawn)


def parked(
    event: ev.JobParked, reason: ParkedReason, *, wake_at: int = 0, ask: Sequence[Question] = ()
) -> Change:
    """Put the job away: it waits and holds no worker."""
    return Change(
        [event],
        inbox=True,
        ask=ask,
        patch=RowPatch(status=JobState.PARKED, parked=reason, worker="", wake_at=wake_at),
    )


def released(event: ev.JobQueued, *, run_at: int = 0) -> Change:
    """Give the job back for another worker to claim."""
    return Change(
        [event],
        inbox=True,
        patch=RowPatch(status=JobState.QUEUED, worker="", run_at=run_at, wake_at=0),
    )


_END: Final = {
    ev.JobSucceeded: JobState.SUCCEEDED,
    ev.JobFailed: JobState.FAILED,
    ev.JobCancelled: JobState.CANCELLED,
}


def ended(
    event: ev.JobSucceeded | ev.JobFailed | ev.JobCancelled,
    *,
    before: Sequence[AnyEvent] = (),
    ask: Sequence[Question] = (),
    answered: Sequence[str] = (),
    deliver: Sequence[Delivery] = (),
) -> Change:
    """Give the job its one terminal state. `before`: events that belong to the end."""
    return Change(
        [*before, event],
        inbox=True,
        ask=ask,
        answered=answered,
        deliver=deliver,
        patch=RowPatch(
            status=_END[type(event)],
            worker="",
            parked="",
            wake_at=0,
            finished_at=event.at,
            ended=True,
        ),
    )


def inbox_read(
    events: Sequence[AnyEvent],
    upto: int,
    answered: Sequence[str] = (),
    ask: Sequence[Question] = (),
) -> Change:
    """Take what arrived in the inbox into the history."""
    return Change(list(events), patch=RowPatch(inbox_done=upto), answered=answered, ask=ask)


def expired(event: ev.ApprovalDecided | ev.SignalConsumed) -> Change:
    """End a wait by its time, unless an answer has come before."""
    return Change([event], inbox=True, answered=(event.step,))
