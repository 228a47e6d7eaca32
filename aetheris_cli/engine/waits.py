"""Approvals, signals, timers and children: durable waits that hold no worker.

Each function begins a wait at a place that has none yet, or takes up the one that the history
holds without an outcome.
"""

from typing import NamedTuple

from msgspec import Raw

from aetheris_cli.domain import changes, ids
from aetheris_cli.domain import events as ev
from aetheris_cli.domain.changes import NewJob
from aetheris_cli.domain.ids import CallId
from aetheris_cli.domain.records import Question
from aetheris_cli.domain.states import ParkedReason
from aetheris_cli.engine.branches import Pending
from aetheris_cli.engine.run import Run, Wait


class Opening(NamedTuple):
    """Where a wait begins."""

    run: Run
    step: str
    after: tuple[str, ...]
    cause: int
    pending: Pending

    @property
    def is_new(self) -> bool:
        """Whether the history does not hold it yet."""
        return self.step not in self.run.history.steps

    def until(self, now: int, limit_ms: int) -> int:
        """Give when it ends by itself: as recorded, or `limit_ms` from now; 0: never."""
        if self.is_new:
            return now + limit_ms if limit_ms else 0
        return self.run.history.steps[self.step].until


def approval(
    at: Opening, title: str, details: Raw, digest: str, role: str, expires_ms: int
) -> None:
    """Ask a person."""
    run, step, now = at.run, at.step, at.run.now()
    until = at.until(now, expires_ms)
    if at.is_new:
        event = ev.ApprovalRequested(
            at=now, cause=at.cause, step=step, title=title, details=details, digest=digest,
            role=role, expires_at=until, after=at.after,
        )  # fmt: skip
        question = Question(
            step=step, kind="approval", since=now, title=title, digest=digest, role=role,
            until=until, details=bytes(details).decode(),
        )  # fmt: skip
        run.queue(changes.asked(event, question))

    def expire() -> None:
        event = ev.ApprovalDecided(
            at=run.now(), step=step, cause=run.history.steps[step].last_seq,
            approved=False, by_expiry=True, comment="nobody decided in time",
        )  # fmt: skip
        run.propose(wait, changes.expired(event))

    wait = Wait(step, ParkedReason.APPROVAL, until, expire)
    run.wait_until(wait)


def signal(at: Opening, name: str, timeout_ms: int) -> None:
    """Wait for a named signal; one that came early is taken at once."""
    run, step, now = at.run, at.step, at.run.now()
    until = at.until(now, timeout_ms)
    if at.is_new:
        event = ev.SignalAwaited(
            at=now, cause=at.cause, step=step, name=name, until=until, after=at.after
        )
        question = Question(step=step, kind="signal", since=now, name=name, until=until)
        run.queue(changes.asked(event, question))

    def expire() -> None:
        event = ev.SignalConsumed(
            at=run.now(), step=step, cause=run.history.steps[step].last_seq, received=0
        )
        run.propose(wait, changes.expired(event))

    wait = Wait(step, ParkedReason.SIGNAL, until, expire, name)
    run.wait_until(wait)
    run.offer_signals()


def timer(at: Opening, ms: int) -> None:
    """Wait for a time."""
    run, step, now = at.run, at.step, at.run.now()
    until = at.until(now, ms) or now
    if at.is_new:
        event = ev.TimerSet(at=now, cause=at.cause, step=step, until=until, ms=ms, after=at.after)
        run.queue(changes.recorded(event))

    def fire() -> None:
        event = ev.TimerFired(at=run.now(), step=step, cause=run.history.steps[step].last_seq)
        run.queue(changes.recorded(event))
        run.complete(step)

    run.wait_until(Wait(step, ParkedReason.TIMER, until, fire))


def child(at: Opening, agent: str, message: str, given: Raw, digest: str) -> None:
    """Start a child job, in the transaction that records it, and wait for its end."""
    run, step = at.run, at.step
    if at.is_new:
        parent = ids.call_id(ids.JobId(run.job), ids.StepId(step))
        name = ids.child_id(CallId(parent))
        now = run.now()
        submitted = ev.JobSubmitted(
            at=now, agent=agent, message=message, input=given, parent=parent,
            root=run.row.root, queue=run.row.queue, priority=run.row.priority,
            version=run.host.registry.agent(agent).version,
        )  # fmt: skip
        event = ev.ChildStarted(
            at=now, cause=at.cause, step=step, child=name, agent=agent, digest=digest,
            after=at.after,
        )  # fmt: skip
        change = changes.asked(
            event,
            Question(step=step, kind="child", since=now, name=name),
            spawn=[NewJob(name, submitted)],
        )
        change.on_durable = run.host.child_spawned
        run.queue(change)
    run.wait_until(Wait(step, ParkedReason.CHILD, 0, lambda: None))
