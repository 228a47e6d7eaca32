"""What others may want of a job, and what a wish does to its history.

A wish is a durable row of the job's inbox. `check` says whether the job can take it at all,
`take` gives the events it becomes. A job's owner and the store (for a job that nobody owns)
both use `take`, so an approval means the same whoever writes it down.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Raw

from aetheris_cli.domain import codec
from aetheris_cli.domain import events as ev
from aetheris_cli.domain.changes import Delivery
from aetheris_cli.domain.errors import Conflict
from aetheris_cli.domain.events import NONE, NULL, AnyEvent, Error
from aetheris_cli.domain.history import History, Step
from aetheris_cli.domain.ledger import Effect
from aetheris_cli.domain.records import InboxRow, JobRow, Question
from aetheris_cli.domain.states import (
    CONTRADICTED,
    JOB_ENDED,
    RESUMABLE,
    AttemptState,
    CallState,
    JobState,
    ParkedReason,
)


class Receipt(msgspec.Struct, frozen=True):
    """What became of a wish when it was delivered."""

    new: bool
    first: InboxRow
    """The wish itself, or the earlier one that it repeats."""
    owner: str = ""
    """The worker that will take it; empty: it has taken effect already."""
    woken: bool = False


class Taken(msgspec.Struct):
    """What a wish does."""

    events: list[AnyEvent]
    answered: list[str] = msgspec.field(default_factory=list)
    ask: list[Question] = msgspec.field(default_factory=list)
    status: JobState | None = None
    parked: str = ""
    reason: str = ""
    deliver: list[Delivery] = msgspec.field(default_factory=list)


class _Body(msgspec.Struct, omit_defaults=True):
    """What the body of any wish may hold."""

    approved: bool = False
    value: Raw = NONE
    comment: str = ""
    reason: str = ""
    name: str = ""
    key: str = ""
    verdict: str = ""
    child: str = ""
    status: str = ""
    error: Error | None = None
    n: int = 0
    worker: str = ""
    epoch: int = 0


_read: Final = msgspec.json.Decoder(_Body).decode
_HOLDING: Final = frozenset(str(reason) for reason in RESUMABLE)


def is_readable(body: object) -> bool:
    """Whether `body` is what the body of a wish can be."""
    try:
        return isinstance(body, str) and _read(body) is not None
    except (msgspec.MsgspecError, UnicodeError):
        return False


def _write(body: _Body) -> str:
    """Write a body, after every text of it has been judged: what is kept must be read again."""
    for field in _TEXTS:
        codec.text(getattr(body, field), f"the {field}", most=codec.MAX_REASON, empty=True)
    return ev.encode(body).decode()


_TEXTS: Final = ("comment", "reason", "name", "key", "verdict")


# --- making wishes ---------------------------------------------------------------------------


def cancel(job: str, actor: str, reason: str = "") -> Delivery:
    """Wish that a job ends as cancelled."""
    return Delivery(job, "cancel", "", _write(_Body(reason=reason)), "cancel", actor)


def cancel_child(parent: str, child: str) -> Delivery:
    """Wish that a child ends with its parent."""
    return cancel(child, "", f"its parent {parent} has ended")


def pause(job: str, actor: str) -> Delivery:
    """Wish that a job stops at the next place where nothing is in flight."""
    return Delivery(job, "pause", "", "{}", "", actor)


def resume(job: str, actor: str) -> Delivery:
    """Wish that a job goes on that a person or a rule has stopped."""
    return Delivery(job, "resume", "", "{}", "", actor)


def decide(
    job: str, step: str, actor: str, *, approved: bool, value: Raw = NONE, comment: str = ""
) -> Delivery:
    """Answer an approval."""
    body = _Body(approved=approved, value=value, comment=comment)
    return Delivery(job, "decide", step, _write(body), f"decide:{step}", actor)


def signal(job: str, name: str, value: Raw, actor: str, key: str = "") -> Delivery:
    """Send a named value to a job."""
    body = _Body(name=name, value=value, key=key)
    return Delivery(job, "signal", "", _write(body), f"signal:{key}" if key else "", actor)


def settle(
    job: str, step: str, actor: str, *, verdict: str, result: Raw = NONE, reason: str = ""
) -> Delivery:
    """Say what became of a call in doubt."""
    body = _Body(verdict=verdict, value=result, reason=reason)
    return Delivery(job, "settle", step, _write(body), "", actor)


def evidence(
    job: str, step: str, *, n: int, worker: str, epoch: int,
    result: Raw = NONE, error: Error | None = None,
) -> Delivery:  # fmt: skip
    """Keep the answer that came to a worker after it had lost the job."""
    body = _Body(n=n, worker=worker, epoch=epoch, value=result, error=error)
    return Delivery(job, "evidence", step, _write(body), f"evidence:{step}:{n}:{epoch}", worker)


def child_finished(child: JobRow, end: AnyEvent) -> Delivery:
    """Tell the parent of `child` how it ended."""
    parent, _, step = child.parent.partition(".")
    output, error = NONE, None
    if isinstance(end, ev.JobSucceeded):
        output = end.output
    elif isinstance(end, ev.JobFailed):
        error = end.error
    elif isinstance(end, ev.JobCancelled):
        error = Error("cancelled", end.reason)
    return child_ended(parent, step, child.id, str(child.status), output, error)


def child_ended(
    job: str, step: str, child: str, status: str, output: Raw, error: Error | None
) -> Delivery:
    """Tell `job` how the child that its `step` has started ended."""
    body = _Body(child=child, status=status, value=output, error=error)
    return Delivery(job, "child", step, _write(body), f"child:{step}")


def key_freed(job: str, step: str) -> Delivery:
    """Tell a job that the global key it waits for may be free."""
    return Delivery(job, "key", step, "{}", "")


# --- judging them ----------------------------------------------------------------------------


def check(
    row: JobRow, wish: Delivery, question: Question | None, now: int, *, pausing: bool = False
) -> None:
    """Raise Conflict when the job is in no state for the wish.

    `pausing`: its owner has been told to pause it and has not yet done so.
    """
    if wish.kind == "evidence":
        return
    if wish.kind == "settle":
        wanted = CONTRADICTED if _read(wish.body).verdict == "seen" else "in_doubt"
        if question is None or question.kind != wanted:
            raise Conflict(
                f"call {row.id}.{wish.step} is not "
                + ("in doubt" if wanted == "in_doubt" else "contradicted"),
                why="only a call whose outcome is unknown can be settled"
                if wanted == "in_doubt"
                else "no late answer has come that says otherwise",
                fix=f"`aetheris calls {row.id}` shows what is known",
                job=row.id,
            )
        return
    if row.status in JOB_ENDED:
        raise Conflict(
            f"job {row.id} has {row.status}"
            if row.status != "cancelled"
            else f"job {row.id} was cancelled",
            why="an ended job is never changed",
            fix=f"`aetheris retry {row.id}` starts a new job from the same input",
            job=row.id,
        )
    if wish.kind == "decide":
        if question is None or question.kind != "approval":
            raise Conflict(
                f"job {row.id} has no open approval at step {wish.step}",
                why="it was decided already, or never asked",
                fix="`aetheris parked` lists what is open",
                job=row.id,
            )
        if 0 < question.until <= now:
            raise Conflict(
                "the approval has expired",
                why="nobody decided in time, and the default is to deny",
                fix=f"`aetheris show {row.id}` shows how the job went on",
                job=row.id,
            )
    elif wish.kind == "resume" and not pausing and row.parked not in _HOLDING:
        raise Conflict(
            f"job {row.id} is {row.status}" + (f" for {row.parked}" if row.parked else ""),
            why=f"resume lifts {', '.join(sorted(_HOLDING))}",
            fix="`aetheris parked` shows what it waits for"
            if row.parked
            else "it goes on by itself",
            job=row.id,
        )
    elif wish.kind == "pause" and row.parked == ParkedReason.PAUSED:
        raise Conflict(f"job {row.id} is paused already", fix=f"aetheris resume {row.id}")


def dedupe(wish: Delivery, question: Question | None) -> str:
    """Give what makes this wish the same as an earlier one; empty: nothing does."""
    if wish.kind == "settle" and question is not None:
        # A call can come into doubt again after "did not happen".
        return f"settle:{wish.step}:{question.since}"
    return wish.dedupe


def needs_history(wish: InboxRow) -> bool:
    """Whether `take` must see the whole history."""
    return wish.kind in {"cancel", "evidence", "settle"}


# --- taking them -----------------------------------------------------------------------------


def take(
    wish: InboxRow, row: JobRow, history: History, waits: Sequence[Question], now: int
) -> Taken:
    """Give the events that a wish becomes, and what they do to the job if nobody owns it."""
    body = _read(wish.body)
    taken = _TAKE[wish.kind](wish, body, history, now)
    if taken.status is JobState.QUEUED and wish.kind != "resume":
        held = row.status is not JobState.PARKED or row.parked in _HOLDING
        if held or (wish.kind == "signal" and not _awaits(waits, body.name)):
            taken.status = None
    return taken


def _awaits(waits: Sequence[Question], name: str) -> bool:
    return any(wait.kind == "signal" and wait.name == name for wait in waits)


def noted(wish: InboxRow, now: int) -> ev.JobAsked:
    """Give the event by which an owner takes note of a wish for the whole job."""
    reason = _read(wish.body).reason
    return ev.JobAsked(at=now, actor=wish.actor, what=wish.kind, reason=reason)


def cancelled(
    history: History, actor: str, reason: str, now: int
) -> tuple[ev.JobCancelled, list[AnyEvent], list[Question]]:
    """Give the end of a cancelled job, and what its open calls leave: events and questions."""
    events, questions = left_open(history, "the job was cancelled while the call was open", now)
    return ev.JobCancelled(at=now, actor=actor, reason=reason), events, questions


def _cancel(wish: InboxRow, body: _Body, history: History, now: int) -> Taken:
    end, events, questions = cancelled(history, wish.actor, body.reason, now)
    return Taken([*events, end], ask=questions, status=JobState.CANCELLED)


def _pause(wish: InboxRow, _body: _Body, _history: History, now: int) -> Taken:
    event = ev.JobParked(at=now, actor=wish.actor, reason=ParkedReason.PAUSED)
    ask = Question(step="", kind=ParkedReason.PAUSED, since=now, title="paused by a person")
    return Taken([event], ask=[ask], status=JobState.PARKED, parked=ParkedReason.PAUSED)


def _resume(_wish: InboxRow, _body: _Body, _history: History, _now: int) -> Taken:
    return Taken([], [""], status=JobState.QUEUED, reason="resumed")


def _decide(wish: InboxRow, body: _Body, _history: History, now: int) -> Taken:
    event = ev.ApprovalDecided(
        at=now, actor=wish.actor, step=wish.step,
        approved=body.approved, value=body.value, comment=body.comment,
    )  # fmt: skip
    return Taken([event], [wish.step], status=JobState.QUEUED, reason="approval")


def _signal(wish: InboxRow, body: _Body, _history: History, now: int) -> Taken:
    event = ev.SignalReceived(
        at=now, actor=wish.actor, name=body.name, value=body.value if len(body.value) else NULL,
        key=body.key,
    )  # fmt: skip
    return Taken([event], status=JobState.QUEUED, reason="signal")


def _settle(wish: InboxRow, body: _Body, _history: History, now: int) -> Taken:
    event = ev.CallSettled(
        at=now, actor=wish.actor, step=wish.step,
        verdict=body.verdict, reason=body.reason, result=body.value,
    )  # fmt: skip
    return Taken([event], [wish.step], status=JobState.QUEUED, reason="settled")


def _child(wish: InboxRow, body: _Body, _history: History, now: int) -> Taken:
    event = ev.ChildFinished(
        at=now, step=wish.step, child=body.child, status=body.status,
        output=body.value, error=body.error,
    )  # fmt: skip
    return Taken([event], [wish.step], status=JobState.QUEUED, reason="child")


def _key(_wish: InboxRow, _body: _Body, _history: History, _now: int) -> Taken:
    # The wait stays noted until the call has asked again.
    return Taken([], status=JobState.QUEUED, reason="global_key")


def _evidence(wish: InboxRow, body: _Body, history: History, now: int) -> Taken:
    step = history.steps.get(wish.step)
    contradicts = step is not None and _contradicts(step, body)
    event = ev.CallEvidence(
        at=now, step=wish.step, n=body.n, worker=body.worker, of_epoch=body.epoch,
        result=body.value, error=body.error, contradicts=contradicts,
    )  # fmt: skip
    if not contradicts or step is None or step.call is CallState.IN_DOUBT:
        return Taken([event])  # who settles a doubt is shown the evidence anyway
    why = contradiction(body.error)
    alarm = msgspec.structs.replace(
        doubt_question(step.id, step.name, step.digest, step.schema, step.args, why, now),
        kind=CONTRADICTED,
    )
    return Taken([event], ask=[alarm])


def contradiction(error: Error | None) -> str:
    """Say what a late answer, or the error that it is, has against a settlement."""
    known = error.message if error is not None else "it happened"
    return f"a late answer contradicts how this call was settled: {known}"


def _contradicts(step: Step, body: _Body) -> bool:
    """Whether late evidence says that what was decided about the call was wrong."""
    verdict = step.settled.verdict if step.settled is not None else ""
    if body.error is not None:
        # Any other error says as little about the effect as it did then.
        return verdict == "happened" and body.error.kind in {"not_sent", "refused"}
    sent_again = step.effect in {Effect.PROBE, Effect.UNSAFE} and any(
        attempt.n > body.n for attempt in step.attempts
    )
    return verdict == "did_not_happen" or sent_again


_TAKE: Final = {
    "cancel": _cancel,
    "pause": _pause,
    "resume": _resume,
    "decide": _decide,
    "signal": _signal,
    "settle": _settle,
    "child": _child,
    "key": _key,
    "evidence": _evidence,
}


def left_open(history: History, why: str, now: int) -> tuple[list[AnyEvent], list[Question]]:
    """Say of each call that may be under way, when its job ends, that its outcome is unknown."""
    events: list[AnyEvent] = []
    questions = []
    for step in history.open_calls():
        if lost(step):
            event, question = doubt(step, why, now)
            events.append(event)
            questions.append(question)
    return events, questions


def lost(step: Step) -> bool:
    """Whether an open call may have been sent without anybody knowing how it ended."""
    return (
        step.call is CallState.INTENDED
        and step.effect != Effect.PURE
        and not step.ordered
        and bool(step.attempts)
        and (step.attempts[-1].status is AttemptState.SENT or step.unknown)
    )


def doubt(step: Step, why: str, now: int) -> tuple[ev.CallInDoubt, Question]:
    """Give the event and the question that say a call's outcome is unknown."""
    n = step.attempts[-1].n if step.attempts else 1
    event = ev.CallInDoubt(at=now, step=step.id, n=n, error=Error("unknown", why))
    return event, doubt_question(step.id, step.name, step.digest, step.schema, step.args, why, now)


def doubt_question(
    step: str, tool: str, digest: str, schema: str, args: Raw, why: str, now: int
) -> Question:  # fmt: skip
    """Ask a person whether a call happened."""
    shown = bytes(args).decode() if len(args) <= codec.INLINE_BYTES else "null"
    return Question(
        step=step, kind="in_doubt", since=now, title=why, name=tool, digest=digest,
        schema=schema, details=shown or "null",
    )  # fmt: skip
