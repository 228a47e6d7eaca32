"""What can stand in a job's history: a closed union of small records.

An event is stored as JSON text and never touched again. `seq` counts from 1 within the job,
`cause` is the seq of the event that led to it (0: none), `step` the place in the program.
Values of authors (`args`, `result`, `input` …) are embedded as their canonical bytes. A value
too large for a line stands in `refs` (field name -> digest) and is kept once, by digest.

Facts that never change (tool, effect, arguments) stand in the first event of a call alone: the
intent, or for a pure call, which has no intent, whatever comes first.
"""

from typing import Any, ClassVar, Final, TypeAlias

import msgspec
from msgspec import Raw

NULL: Final = Raw(b"null")
RESEND: Final = "resend"
"""The evidence of an attempt that repeats an unknown one: its provider dedupes the key."""
NONE: Final = Raw()
"""No value at all (left out of the line), as opposed to the value null."""


class Event(msgspec.Struct, tag_field="type", omit_defaults=True, kw_only=True, gc=False):
    """The fields every event has. `at` is milliseconds since 1970, UTC.

    No event ever refers back to what refers to it, so the garbage collector need not look.
    """

    seq: int = 0
    at: int = 0
    epoch: int = 0
    cause: int = 0
    actor: str = ""
    """The person or program that ordered it; empty: the runtime itself."""
    step: str = ""
    refs: dict[str, str] | None = None

    values: ClassVar[tuple[str, ...]] = ()
    """The fields that hold an author's value."""


class Command(Event, kw_only=True):
    """What a call is: present in the first event of the call, absent (tool == "") later."""

    tool: str = ""
    effect: str = ""
    args: Raw = NONE
    digest: str = ""
    schema: str = ""
    key: str = ""
    after: tuple[str, ...] = ()
    """The steps whose outcome the branch had seen last: the edges of the task graph."""
    rule: str = ""
    """What an unknown outcome does to the job: park or fail."""
    n: int = 1
    """The attempt, from 1."""
    started_at: int = 0
    """For a pure attempt, which leaves no intent."""

    values: ClassVar[tuple[str, ...]] = ("args",)


class Error(msgspec.Struct, omit_defaults=True, frozen=True, gc=False):
    """Why something failed, in words that are safe to show after cleaning."""

    kind: str
    message: str = ""
    type: str = ""


# --- the job ---------------------------------------------------------------------------------


class JobSubmitted(Event, tag="job.submitted", kw_only=True):
    agent: str
    version: str = ""
    message: str = ""
    input: Raw = NONE
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    key: str = ""
    queue: str = ""
    priority: int = 0
    run_at: int = 0
    parent: str = ""
    """The call id of the parent that started this job as a child."""
    root: str = ""
    retry_of: str = ""

    values: ClassVar[tuple[str, ...]] = ("input",)


class JobClaimed(Event, tag="job.claimed", kw_only=True):
    worker: str
    version: str = ""


class JobQueued(Event, tag="job.queued", kw_only=True):
    reason: str
    """worker_died, released, woken or resumed."""
    worker: str = ""


class JobParked(Event, tag="job.parked", kw_only=True):
    reason: str
    steps: tuple[str, ...] = ()
    until: int = 0
    note: str = ""


class JobAsked(Event, tag="job.asked", kw_only=True):
    """The owner has taken note of a person's wish for the whole job, and will act on it.

    Between the two it may die: whoever owns the job next finds the wish here.
    """

    what: str
    """cancel, pause or resume."""
    reason: str = ""


class JobSucceeded(Event, tag="job.succeeded", kw_only=True):
    output: Raw = NULL

    values: ClassVar[tuple[str, ...]] = ("output",)


class JobFailed(Event, tag="job.failed", kw_only=True):
    error: Error


class JobCancelled(Event, tag="job.cancelled", kw_only=True):
    reason: str = ""


# --- calls -----------------------------------------------------------------------------------


class CallIntended(Command, tag="call.intended", kw_only=True):
    evidence: str = ""
    """What allowed an attempt after an unknown one: resend, probe, or a person's settlement."""


class CallSucceeded(Command, tag="call.succeeded", kw_only=True):
    result: Raw = NULL
    source: str = ""
    """Empty: the tool's own answer. Else probe, or global_key."""

    values: ClassVar[tuple[str, ...]] = ("args", "result")


class CallFailed(Command, tag="call.failed", kw_only=True):
    outcome: str
    error: Error
    source: str = ""


class CallRetrying(Command, tag="call.retrying", kw_only=True):
    outcome: str
    error: Error
    next_at: int


class CallInDoubt(Command, tag="call.in_doubt", kw_only=True):
    error: Error


class CallSettled(Event, tag="call.settled", kw_only=True):
    verdict: str
    """happened, did_not_happen or fail."""
    reason: str = ""
    result: Raw = NONE

    values: ClassVar[tuple[str, ...]] = ("result",)


class CallEvidence(Event, tag="call.evidence", kw_only=True):
    n: int
    worker: str
    of_epoch: int
    result: Raw = NONE
    error: Error | None = None
    contradicts: bool = False
    """A person had settled the call the other way."""

    values: ClassVar[tuple[str, ...]] = ("result",)


# --- waits -----------------------------------------------------------------------------------


class ApprovalRequested(Event, tag="approval.requested", kw_only=True):
    title: str
    details: Raw = NONE
    digest: str = ""
    role: str = ""
    expires_at: int = 0
    after: tuple[str, ...] = ()

    values: ClassVar[tuple[str, ...]] = ("details",)


class ApprovalDecided(Event, tag="approval.decided", kw_only=True):
    approved: bool
    value: Raw = NONE
    comment: str = ""
    by_expiry: bool = False

    values: ClassVar[tuple[str, ...]] = ("value",)


class SignalAwaited(Event, tag="signal.awaited", kw_only=True):
    name: str
    until: int = 0
    after: tuple[str, ...] = ()


class SignalReceived(Event, tag="signal.received", kw_only=True):
    name: str
    value: Raw = NULL
    key: str = ""

    values: ClassVar[tuple[str, ...]] = ("value",)


class SignalConsumed(Event, tag="signal.consumed", kw_only=True):
    """A wait ended: with the signal that stands at `received`, or (0) by its time limit."""

    received: int


class TimerSet(Event, tag="timer.set", kw_only=True):
    until: int
    ms: int = 0
    after: tuple[str, ...] = ()


class TimerFired(Event, tag="timer.fired", kw_only=True):
    pass


class ChildStarted(Event, tag="child.started", kw_only=True):
    child: str
    agent: str
    digest: str
    after: tuple[str, ...] = ()


class ChildFinished(Event, tag="child.finished", kw_only=True):
    child: str
    status: str
    output: Raw = NONE
    error: Error | None = None

    values: ClassVar[tuple[str, ...]] = ("output",)


# --- small facts -----------------------------------------------------------------------------


class ValueRecorded(Event, tag="value.recorded", kw_only=True):
    kind: str
    """now or patched."""
    name: str = ""
    value: Raw

    values: ClassVar[tuple[str, ...]] = ("value",)


class LogWritten(Event, tag="log.written", kw_only=True):
    text: str
    fields: Raw = NONE

    values: ClassVar[tuple[str, ...]] = ("fields",)


AnyEvent: TypeAlias = (
    JobSubmitted
    | JobClaimed
    | JobQueued
    | JobParked
    | JobAsked
    | JobSucceeded
    | JobFailed
    | JobCancelled
    | CallIntended
    | CallSucceeded
    | CallFailed
    | CallRetrying
    | CallInDoubt
    | CallSettled
    | CallEvidence
    | ApprovalRequested
    | ApprovalDecided
    | SignalAwaited
    | SignalReceived
    | SignalConsumed
    | TimerSet
    | TimerFired
    | ChildStarted
    | ChildFinished
    | ValueRecorded
    | LogWritten
)

_decoder: Final[msgspec.json.Decoder[AnyEvent]] = msgspec.json.Decoder(AnyEvent)
encode: Final = msgspec.json.Encoder().encode


def decode(body: str | bytes) -> AnyEvent:
    """Read one stored line. Raises msgspec.DecodeError when it is not an event."""
    return _decoder.decode(body)


def as_json(event: AnyEvent, job_id: str, prev: str, head: str) -> dict[str, Any]:
    """Give the event in the public shape: common fields outside, the rest in `data`."""
    fields = msgspec.json.decode(encode(event))
    common = {name: fields.pop(name, 0) for name in ("seq", "at", "epoch", "cause")}
    kind, step, actor = fields.pop("type"), fields.pop("step", ""), fields.pop("actor", "")
    return {
        "seq": common["seq"],
        "type": kind,
        "job_id": job_id,
        "step": step or None,
        "call_id": f"{job_id}.{step}" if step and kind.startswith("call.") else None,
        "epoch": common["epoch"],
        "at": common["at"],
        "actor": actor or None,
        "cause": common["cause"] or None,
        "data": fields,
        "prev": prev,
        "hash": head,
    }
