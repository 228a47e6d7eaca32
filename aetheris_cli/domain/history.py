"""The fold: what a job's events add up to.

One function reads events in order and gives a `History`: the steps with their attempts, the
signals that wait, the decisions. The engine resumes from it, every screen is drawn from it,
and the ledger's list of calls is a part of it. It raises nothing on a strange order: what the
events say is what it shows; `verify` judges.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
from msgspec import Raw

from aetheris_cli.domain import events as ev
from aetheris_cli.domain.events import NONE, AnyEvent, Command, Error
from aetheris_cli.domain.states import (
    STEP_ENDED,
    AttemptState,
    CallState,
    JobState,
    ParkedReason,
    StepState,
)


class Attempt(msgspec.Struct, gc=False):
    """One dispatch of a call."""

    n: int
    epoch: int
    worker: str
    status: AttemptState
    started_at: int
    finished_at: int = 0
    error: Error | None = None


class Settlement(msgspec.Struct, gc=False):
    """How a person ended a call that was in doubt."""

    verdict: str
    by: str
    reason: str
    at: int


class Step(msgspec.Struct, gc=False):
    """One node of the job's graph: a call or a wait, and how it stands."""

    id: str
    kind: str
    """call, approval, signal, timer, child or value."""
    name: str
    digest: str = ""
    state: StepState = StepState.RUNNING
    after: tuple[str, ...] = ()
    started_at: int = 0
    finished_at: int = 0
    done_seq: int = 0
    """The event that gave the step its outcome; 0 while it has none."""
    value: Raw = NONE
    """The outcome: a result, a signal, a child's output; JSON bytes."""
    error: Error | None = None
    until: int = 0
    """When a wait, or the pause before the next attempt, ends by itself; 0: never."""
    last_seq: int = 0
    by: str = ""
    """Who decided an approval."""
    approved: bool = False
    comment: str = ""
    role: str = ""
    # of calls alone
    effect: str = ""
    args: Raw = NONE
    schema: str = ""
    key: str = ""
    rule: str = ""
    call: CallState | None = None
    attempts: list[Attempt] = msgspec.field(default_factory=list)
    settled: Settlement | None = None
    ordered: bool = False
    """A person said that it did not happen, and the new attempt has not begun."""
    cleared: int = 0
    """Up to this attempt, all are known not to have happened."""
    evidence: list[ev.CallEvidence] = msgspec.field(default_factory=list)
    first_intent_at: int = 0
    last_intent_at: int = 0
    child: str = ""
    source: str = ""

    @property
    def done(self) -> bool:
        """Whether the step has an outcome."""
        return self.done_seq > 0

    @property
    def unknown(self) -> bool:
        """Whether an attempt may have taken place without anybody knowing how it ended."""
        last = len(self.attempts) - 1
        return any(
            one.n > self.cleared
            and (
                one.status is AttemptState.UNKNOWN
                or (one.status is AttemptState.SENT and at < last)
            )
            for at, one in enumerate(self.attempts)
        )


class History(msgspec.Struct):
    """Everything the events of one job add up to."""

    submitted: ev.JobSubmitted | None = None
    status: JobState = JobState.QUEUED
    steps: dict[str, Step] = msgspec.field(default_factory=dict)
    completed: list[str] = msgspec.field(default_factory=list)
    """Steps in the order in which their outcomes were recorded."""
    signals: list[ev.SignalReceived] = msgspec.field(default_factory=list)
    """Received and not consumed yet, oldest first."""
    signal_keys: set[str] = msgspec.field(default_factory=set)
    logs: set[str] = msgspec.field(default_factory=set)
    """The places that have logged already."""
    parked: ev.JobParked | None = None
    cancel: ev.JobAsked | None = None
    """A wish to cancel that was noted and not carried out yet."""
    pause: ev.JobAsked | None = None
    """A wish to pause that was noted and not carried out yet."""
    ended: ev.JobSucceeded | ev.JobFailed | ev.JobCancelled | None = None
    worker: str = ""
    epoch: int = 0
    deaths: int = 0
    """Worker deaths since the last recorded progress."""
    version: str = ""
    seq: int = 0

    def call(self, step: str) -> Step | None:
        """Give the call that `step` makes, if it makes one."""
        found = self.steps.get(step)
        return found if found is not None and found.call is not None else None

    def open_calls(self) -> list[Step]:
        """Give the calls without an outcome, oldest first."""
        return [step for step in self.steps.values() if step.call is not None and not step.done]


def fold(lines: Iterable[AnyEvent], into: History | None = None) -> History:
    """Add `lines` to `into` (a new history when None) and give it back."""
    history = History() if into is None else into
    for event in lines:
        history.seq = event.seq
        history.epoch = max(history.epoch, event.epoch)
        kind = type(event)
        if not event.step:
            react = _JOB.get(kind)
            if react is not None:
                react(history, event)
        elif kind is ev.LogWritten:
            history.logs.add(event.step)
        else:
            step = history.steps.get(event.step)
            if step is None:
                step = history.steps[event.step] = _new_step(event)
            step.last_seq = event.seq
            happen = _STEP.get(kind)
            if happen is not None:
                happen(history, step, event)
    return history


# --- events of the job as a whole ------------------------------------------------------------


def _submitted(history: History, event: ev.JobSubmitted) -> None:
    history.submitted = event


def _claimed(history: History, event: ev.JobClaimed) -> None:
    history.status, history.worker = JobState.RUNNING, event.worker
    history.version = event.version
    history.parked = None


def _queued(history: History, event: ev.JobQueued) -> None:
    history.status, history.worker, history.parked = JobState.QUEUED, "", None
    if event.reason == "worker_died":
        history.deaths += 1
    elif event.reason == "resumed":
        history.deaths, history.pause = 0, None


def _parked(history: History, event: ev.JobParked) -> None:
    history.status, history.worker, history.parked = JobState.PARKED, "", event
    if event.reason == ParkedReason.PAUSED:
        history.pause = None


def _asked(history: History, event: ev.JobAsked) -> None:
    if event.what == "cancel":
        history.cancel = event
    else:
        history.pause = event if event.what == "pause" else None


def _job_ended(history: History, event: ev.JobSucceeded | ev.JobFailed | ev.JobCancelled) -> None:
    history.status, history.worker, history.ended = _ENDS[type(event)], "", event
    history.parked = None
    for step in history.steps.values():
        if step.state not in STEP_ENDED:
            step.state = StepState.CANCELLED  # the ledger says of its call what is known


def _signal_received(history: History, event: ev.SignalReceived) -> None:
    history.signals.append(event)
    if event.key:
        history.signal_keys.add(event.key)


_ENDS: Final = {
    ev.JobSucceeded: JobState.SUCCEEDED,
    ev.JobFailed: JobState.FAILED,
    ev.JobCancelled: JobState.CANCELLED,
}

_JOB: Final[dict[type, Callable[[History, Any], None]]] = {
    ev.JobSubmitted: _submitted,
    ev.JobClaimed: _claimed,
    ev.JobQueued: _queued,
    ev.JobParked: _parked,
    ev.JobAsked: _asked,
    **dict.fromkeys(_ENDS, _job_ended),
    ev.SignalReceived: _signal_received,
}


# --- events that open a step -----------------------------------------------------------------


def _new_step(event: AnyEvent) -> Step:
    if isinstance(event, Command):
        return Step(
            id=event.step, kind="call", name=event.tool, effect=event.effect,
            digest=event.digest, args=event.args, schema=event.schema, key=event.key,
            after=event.after, rule=event.rule, call=CallState.INTENDED,
            started_at=event.started_at or event.at,
        )  # fmt: skip
    step = Step(id=event.step, kind="unknown", name="", started_at=event.at)
    match event:
        case ev.ApprovalRequested():
            step.kind, step.name, step.args = "approval", event.title, event.details
            step.digest, step.role, step.until = event.digest, event.role, event.expires_at
            step.after, step.state = event.after, StepState.WAITING
        case ev.SignalAwaited():
            step.kind, step.name, step.until = "signal", event.name, event.until
            step.after, step.state = event.after, StepState.WAITING
        case ev.TimerSet():
            step.kind, step.until, step.after = "timer", event.until, event.after
            step.name, step.state = f"{event.ms} ms", StepState.WAITING
        case ev.ChildStarted():
            step.kind, step.name, step.child = "child", event.agent, event.child
            step.digest, step.after, step.state = event.digest, event.after, StepState.WAITING
        case ev.ValueRecorded():
            step.kind, step.name = "value", f"{event.kind} {event.name}".strip()
        case _:
            pass  # an event of a later version, or a settlement without its call
    return step


# --- events of a step ------------------------------------------------------------------------


def _succeeded(history: History, step: Step, event: ev.CallSucceeded) -> None:
    _attempt_ended(history, step, event, AttemptState.SUCCEEDED, None)
    step.value, step.source = event.result, event.source
    step.call, step.error = CallState.SUCCEEDED, None
    _done(history, step, event, StepState.SUCCEEDED)


def _failed(history: History, step: Step, event: ev.CallFailed) -> None:
    _attempt_ended(history, step, event, AttemptState(event.outcome), event.error)
    step.error, step.source = event.error, event.source
    step.call = CallState.FAILED
    _done(history, step, event, StepState.FAILED)


def _retrying(history: History, step: Step, event: ev.CallRetrying) -> None:
    _attempt_ended(history, step, event, AttemptState(event.outcome), event.error)
    step.error, step.until, step.state = event.error, event.next_at, StepState.WAITING


def _in_doubt(history: History, step: Step, event: ev.CallInDoubt) -> None:
    _attempt_ended(history, step, event, AttemptState.UNKNOWN, event.error)
    step.error, step.call = event.error, CallState.IN_DOUBT
    step.state = StepState.WAITING


def _evidence(_history: History, step: Step, event: ev.CallEvidence) -> None:
    step.evidence.append(event)


def _decided(history: History, step: Step, event: ev.ApprovalDecided) -> None:
    step.approved, step.comment, step.value = event.approved, event.comment, event.value
    step.by = "expiry" if event.by_expiry else event.actor
    _done(history, step, event, StepState.SUCCEEDED)


def _fired(history: History, step: Step, event: ev.TimerFired) -> None:
    _done(history, step, event, StepState.SUCCEEDED)


def _child_finished(history: History, step: Step, event: ev.ChildFinished) -> None:
    step.value, step.error = event.output, event.error
    good = event.status == JobState.SUCCEEDED
    _done(history, step, event, StepState.SUCCEEDED if good else StepState.FAILED)


def _value(history: History, step: Step, event: ev.ValueRecorded) -> None:
    step.value = event.value
    _done(history, step, event, StepState.SUCCEEDED)


def _intended(history: History, step: Step, event: ev.CallIntended) -> None:
    step.attempts.append(Attempt(event.n, event.epoch, history.worker, AttemptState.SENT, event.at))
    step.first_intent_at = step.first_intent_at or event.at
    step.last_intent_at = event.at
    step.call, step.state, step.until = CallState.INTENDED, StepState.RUNNING, 0
    step.ordered = False
    if event.evidence and event.evidence != ev.RESEND:
        step.cleared = event.n - 1


def _attempt_ended(
    history: History, step: Step, event: Command, status: AttemptState, error: Error | None
) -> None:
    if step.attempts and step.attempts[-1].n == event.n:
        attempt = step.attempts[-1]
    elif event.started_at:
        attempt = Attempt(event.n, event.epoch, history.worker, AttemptState.SENT, event.started_at)
        step.attempts.append(attempt)
    else:
        return
    if attempt.status is AttemptState.SENT or status is AttemptState.SUCCEEDED:
        attempt.status, attempt.error = status, error
        attempt.finished_at = event.at


def _settled(history: History, step: Step, event: ev.CallSettled) -> None:
    if event.verdict == "seen":
        return  # somebody has taken note of late evidence; what the call is stays as it was
    step.settled = Settlement(event.verdict, event.actor, event.reason, event.at)
    if event.verdict == "did_not_happen" and step.attempts:
        step.cleared = step.attempts[-1].n
    if event.verdict == "happened":
        step.value, step.call, step.error = event.result, CallState.SUCCEEDED, None
        _done(history, step, event, StepState.SUCCEEDED)
    elif event.verdict == "fail" or history.ended is not None:
        step.call = CallState.FAILED
        _done(history, step, event, StepState.FAILED)
    else:
        step.call, step.state, step.ordered = CallState.INTENDED, StepState.WAITING, True


def _signal_consumed(history: History, step: Step, event: ev.SignalConsumed) -> None:
    found = next((one for one in history.signals if one.seq == event.received), None)
    if found is None:
        step.error = Error("timed_out", f"no signal {step.name!r} in time")
        _done(history, step, event, StepState.FAILED)
        return
    history.signals.remove(found)
    step.value, step.by = found.value, found.actor
    _done(history, step, event, StepState.SUCCEEDED)


def _done(history: History, step: Step, event: AnyEvent, state: StepState) -> None:
    if step.done_seq == 0:
        history.completed.append(step.id)
    step.done_seq, step.finished_at, step.state, step.until = event.seq, event.at, state, 0
    history.deaths = 0


_STEP: Final[dict[type, Callable[[History, Step, Any], None]]] = {
    ev.CallIntended: _intended,
    ev.CallSucceeded: _succeeded,
    ev.CallFailed: _failed,
    ev.CallRetrying: _retrying,
    ev.CallInDoubt: _in_doubt,
    ev.CallSettled: _settled,
    ev.CallEvidence: _evidence,
    ev.ApprovalDecided: _decided,
    ev.SignalConsumed: _signal_consumed,
    ev.TimerFired: _fired,
    ev.ChildFinished: _child_finished,
    ev.ValueRecorded: _value,
}
"""What an event does to its step; those that only open one are read by `_new_step`."""
