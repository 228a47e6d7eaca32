"""The ledger at work: how a call is sent, and what follows when that does not end well.

An effectful attempt is preceded by its durable intent; a result is queued and not waited for.
What happens after an error or a crash is read off the tables in `domain.ledger`.
"""

import asyncio
from typing import Any, Final

from msgspec import Raw

from aetheris_cli.domain import changes, codec, ledger, wishes
from aetheris_cli.domain import events as ev
from aetheris_cli.domain.changes import Change, Delivery
from aetheris_cli.domain.errors import AetherisError, Bug, StoreBusy, StoreFull
from aetheris_cli.domain.events import NONE, NULL, Error
from aetheris_cli.domain.history import Step
from aetheris_cli.domain.keys import Claim
from aetheris_cli.domain.ledger import Effect, Next, OnInDoubt, Recovery, Seen
from aetheris_cli.domain.retry import Retry
from aetheris_cli.domain.states import AttemptState, CallState, ParkedReason
from aetheris_cli.engine import keys
from aetheris_cli.engine.failures import describe, kind_of
from aetheris_cli.engine.journal import Stopped
from aetheris_cli.engine.keys import Asking
from aetheris_cli.engine.probing import Probing
from aetheris_cli.engine.run import Run, Wait
from aetheris_cli.engine.threads import in_thread
from aetheris_cli.ports import failpoints
from aetheris_cli.ports.clock import Clock
from aetheris_cli.ports.code import (
    CallInfo,
    Tool,
    set_current_call,
)
from aetheris_cli.ports.store import Store

_AGAIN_S: Final = 0.5


class Call:
    """One call of a run, from its first attempt to its outcome."""

    __slots__ = (
        "_holds", "after", "answered_late", "args", "arguments", "cause", "data", "digest",
        "effect", "halted", "id", "key", "n", "retry", "run", "started", "step", "task", "tick",
        "timed_out", "timeout_ms", "tool", "unknown", "user_key",
    )  # fmt: skip

    def __init__(  # a row of the ledger
        self,
        run: Run,
        step: str,
        tool: Tool,
        data: bytes,
        arguments: dict[str, Any],
        *,
        key: str,
        timeout_ms: int,
        retry: Retry,
        after: tuple[str, ...],
        cause: int,
    ) -> None:
        self.run = run
        self.step = step
        self.tool = tool
        recorded = run.history.steps.get(step)
        # What a call was when it began it stays, whatever the configuration says by now.
        self.effect = tool.effect if recorded is None else Effect(recorded.effect or tool.effect)
        self.data = data
        self.args = Raw(data)
        self.arguments: dict[str, Any] | None = arguments
        """For the first attempt; later ones read their own, as a tool may change what it gets."""
        self.digest = codec.digest(data)
        self.id = f"{run.job}.{step}"
        self.user_key = key
        self.key = key or self.id
        self.timeout_ms = timeout_ms
        self.retry = retry
        self.after = after
        self.cause = cause
        # The attempt under way.
        self.n = 0
        self.started = 0
        self.unknown = False
        """Whether an attempt before it ended unknown."""
        self.task: asyncio.Task[None] | None = None
        self.halted = False
        self.timed_out = False
        self.tick = 0
        self._holds = False
        """Whether it has asked for its global key and got it."""
        self.answered_late = False
        """Whether an attempt that was given up has succeeded after all."""

    # --- how it begins -----------------------------------------------------------------------

    def start(self) -> None:
        """Make the first attempt, or go on where the history ends."""
        recorded = self.run.history.steps.get(self.step)
        if recorded is None:
            self.attempt(0, unknown=False)
        else:
            self._recover(recorded)

    def _recover(self, step: Step) -> None:
        """Go on after a crash, a park or a settlement, as the recovery table says."""
        made = len(step.attempts)
        if step.done:
            self.run.complete(self.step)
        elif step.call is CallState.IN_DOUBT:
            self._wait_for_settlement()
        elif step.ordered and step.settled is not None:
            self.attempt(made, unknown=False, evidence=f"settled by {step.settled.by}")
        elif step.attempts and step.attempts[-1].status is AttemptState.SENT:
            self._recover_sent(step, made)
        elif step.until > self.run.now():
            self._pause(step.until, made)
        else:
            self._again(made)

    def _again(self, made: int) -> None:
        """Follow an attempt whose end is recorded with what it allows."""
        step = self.recorded()
        if not step.unknown:
            self.attempt(made, unknown=False)
        elif self.effect is Effect.PROBE:
            words = step.error or Error("unknown", "how the attempt ended is unknown")
            self.probe(made, words, own=True)
        elif self.effect is Effect.KEY and self._may_resend(step):
            self.attempt(made, unknown=True, evidence=ev.RESEND)
        else:
            self.in_doubt(made, Error("key_expired", "the key's lifetime is over"))

    def _recover_sent(self, step: Step, made: int) -> None:
        what = ledger.RECOVERY[Seen.INTENT, self.effect]
        lost = Error("lost", "its worker was lost between the intent and the result")
        if what is Recovery.RESEND and self._may_resend(step):
            self.attempt(made, unknown=True, evidence=ev.RESEND)
        elif what is Recovery.PROBE:
            self.probe(made, lost, own=False)
        elif what is Recovery.RERUN:
            self.attempt(made, unknown=False)
        else:
            self.in_doubt(made, lost)

    def _may_resend(self, step: Step) -> bool:
        return ledger.may_resend(
            self.run.now(), step.first_intent_at, self.tool.key_ttl_ms, ledger.KEY_MARGIN_MS
        )

    # --- attempts ----------------------------------------------------------------------------

    def attempt(self, made: int, *, unknown: bool, evidence: str = "") -> None:
        """Begin the next attempt: its durable intent first, then the tool."""
        run = self.run
        if run.stopping:
            run.landed()
            return  # whoever owns the job next begins it
        self.n, self.unknown = made + 1, unknown
        run.in_flight[self.step] = self
        committer = run.host.committer
        if committer.full:
            committer.when_room(lambda: self._begin(evidence))
        else:
            self._begin(evidence)

    def _begin(self, evidence: str) -> None:
        run = self.run
        if self.halted or run.over:
            return
        if self.user_key and self.n == 1 and not self._holds and self.effect.effectful:
            Asking(self, lambda: self._begin_with_key(evidence)).ask()
            return
        self.started = run.now()
        if self.effect is Effect.PURE:
            self._dispatch()
            return
        failpoints.hit("intent.before_commit")
        change = changes.intended(self._intent(evidence))
        change.on_durable = self._intent_durable
        run.queue(change)

    def _begin_with_key(self, evidence: str) -> None:
        self._holds = True
        self._begin(evidence)

    def claim(self) -> Claim:
        """Name the global key that this call wants to hold."""
        tip = self.run.journal.tip
        return Claim(
            tip.no, tip.worker, tip.epoch, self.step, self.tool.name, self.user_key, self.digest
        )

    def copied(self, step: Step) -> None:
        """Take the outcome of the call that holds the key: nothing is sent for this one."""
        if step.call is CallState.SUCCEEDED:
            self.succeeded(self.n, step.value if len(step.value) else NULL, source="global_key")
        else:
            self.failed(self.n, *keys.outcome(step), source="global_key")

    def _intent_durable(self) -> None:
        failpoints.hit("intent.after_commit")
        if not self.halted and not self.run.over:
            self._dispatch()

    def _dispatch(self) -> None:
        """Run the tool as a task of its own: the one place from which anything is sent."""
        run = self.run
        self.timed_out = False
        self.task = run.loop.create_task(self._send())
        run.host.deadlines.add(self, self.timeout_ms / 1_000)

    def _intent(self, evidence: str) -> ev.CallIntended:
        event = ev.CallIntended(
            at=self.started, cause=self.cause, step=self.step, n=self.n, evidence=evidence
        )
        if self.n == 1:
            self._describe(event)
        return event

    def _describe(self, event: ev.Command) -> None:
        """Put into the call's first event what never changes about it."""
        tool = self.tool
        event.tool, event.effect, event.args = tool.name, self.effect, self.args
        event.digest, event.schema, event.key = self.digest, tool.schema, self.user_key
        event.after = self.after
        if tool.on_in_doubt is not OnInDoubt.PARK:
            event.rule = tool.on_in_doubt

    def _ended(self, event: ev.Command) -> ev.Command:
        """Complete the event that ends an attempt: what it follows, or what it stands for."""
        recorded = self.run.history.steps.get(self.step)
        if self.effect is Effect.PURE:
            event.started_at, event.cause = self.started, self.cause
            if event.n == 1:
                self._describe(event)
        elif recorded is None:
            event.cause = self.cause  # it never had an attempt: its key was another's
            self._describe(event)
        else:
            event.cause = recorded.last_seq
        return event

    async def _send(self) -> None:
        tool = self.tool
        self.run.host.sending += 1
        try:
            try:
                arguments, self.arguments = self.arguments or tool.read(self.data), None
                set_current_call(
                    CallInfo(self.id, self.key, self.n, self.run.journal.tip.epoch, arguments)
                )
                failpoints.hit("call.before_send")
                if tool.is_async:
                    value = await tool.run(**arguments)
                else:
                    value = await self._in_thread(arguments)
                data = codec.canonical(value, f"the result of tool {tool.name}")
            except BaseException as error:  # noqa: BLE001 - a tool may raise anything
                failpoints.hit("call.after_send")
                self._answered(None, error)
            else:
                failpoints.hit("call.after_send")
                self._answered(Raw(data), None)
        except Stopped:
            return
        except BaseException as problem:  # noqa: BLE001 - it is ours, and must not be lost
            self.run.broken(problem)
        finally:
            self.run.host.sending -= 1

    async def _in_thread(self, arguments: dict[str, Any]) -> Any:  # noqa: ANN401 - the tool's own
        n, run = self.n, self.run
        try:
            return await in_thread(
                run.host.threads,
                lambda: self.tool.run(**arguments),
                lambda result, error: self._late_thread(n, result, error),
            )
        except asyncio.CancelledError:
            run.late.add(self.step)  # the thread itself cannot be stopped
            raise

    def halt(self) -> None:
        """Send nothing that is not sent, and cancel what runs: the job ends."""
        self.halted = True
        if self.task is not None:
            self.task.cancel()

    def expire(self) -> None:
        """Cancel the attempt, its time is over: again and again, as a tool may swallow it."""
        self.timed_out = True
        if self.task is not None:
            self.task.cancel()
            self.run.host.deadlines.add(self, _AGAIN_S)

    def left(self) -> None:
        """Take note that nothing of the call is under way."""
        run = self.run
        self.task = None
        if self.tick:
            run.host.deadlines.remove(self)
        if run.in_flight.get(self.step) is self:
            del run.in_flight[self.step]
            run.landed()

    # --- how an attempt ends -----------------------------------------------------------------

    def _answered(self, result: Raw | None, error: BaseException | None) -> None:
        """Take what the tool gave or raised."""
        run = self.run
        self.left()
        cancelled = isinstance(error, asyncio.CancelledError)
        if self.halted or run.over or run.journal.ending:
            if not cancelled:
                self._too_late(self.n, result or NONE, error)
        elif result is not None:
            self.succeeded(self.n, result)
        else:
            if cancelled and self.timed_out:
                error = TimeoutError(f"no answer within {self.timeout_ms / 1_000:g} s")
            self._raised(error or Bug("an attempt ended in no way"))
        if run.running == 0:
            run.still()

    def succeeded(self, n: int, result: Raw, source: str = "") -> None:
        """Record the call's result, and let the agent go on with it."""
        event = ev.CallSucceeded(
            at=self.run.now(), step=self.step, n=n, result=result, source=source
        )
        self._ended(event)
        failpoints.hit("result.before_commit")
        self._close(event)

    def failed(self, n: int, outcome: AttemptState, error: Error, source: str = "") -> None:
        """Record that the call ended without success, and tell the agent."""
        event = ev.CallFailed(
            at=self.run.now(), step=self.step, n=n, outcome=outcome, error=error, source=source
        )
        self._ended(event)
        self._close(event)

    def _close(self, event: ev.CallSucceeded | ev.CallFailed) -> None:
        change = changes.recorded(event)
        if failpoints.armed():
            change.on_durable = lambda: failpoints.hit("result.after_commit")
        if self.user_key and self.effect.effectful:
            self._free(change)
        self.run.queue(change)
        self.run.complete(self.step)

    def _free(self, change: Change) -> None:
        """Let those that wait for this call's key go on, and close its own wait for it."""
        change.keyed = True
        recorded = self.run.history.steps.get(self.step)
        if recorded is None or not any(one.contradicts for one in recorded.evidence):
            change.answered = (self.step,)  # else an alarm stands there, for a person to see
        also = change.on_durable

        def durable() -> None:
            if also is not None:
                also()
            self.run.host.store.ring()

        change.on_durable = durable

    def _raised(self, error: BaseException) -> None:
        """Decide, by the table, what an attempt that raised was and what follows."""
        n, words = self.n, describe(error)
        outcome, following = ledger.judge(kind_of(error), self.effect, earlier_unknown=self.unknown)
        left = n < self.retry.max
        again = following is Next.RETRY or (
            following is Next.RESEND and self._may_resend(self.recorded())
        )
        if again and left:
            self._retry(outcome, words)
        elif following is Next.PROBE:
            self._quarantine(n, words)
        elif following in {Next.RETRY, Next.FAIL}:
            self.failed(n, outcome, words)
        else:
            self.in_doubt(n, words)

    def recorded(self) -> Step:
        """Give the call as the history has it."""
        return self.run.history.steps[self.step]

    def _retry(self, outcome: AttemptState, words: Error) -> None:
        next_at = self.run.now() + self.retry.wait_ms(self.n, self.run.host.clock.roll())
        self._record_end(self.n, outcome, words, next_at)
        self._pause(next_at, self.n)

    def _quarantine(self, n: int, words: Error) -> None:
        """Ask the provider, once its "no" can be final; that this attempt has ended is recorded."""
        until = self.recorded().last_intent_at + (self.tool.max_time_ms or 0)
        if self.step not in self.run.late:
            self._record_end(n, AttemptState.UNKNOWN, words, until)
        self.probe(n, words, own=True)

    def _record_end(self, n: int, outcome: AttemptState, words: Error, next_at: int) -> None:
        event = ev.CallRetrying(
            at=self.run.now(), step=self.step, n=n, outcome=outcome, error=words, next_at=next_at
        )
        self._ended(event)
        self.run.queue(changes.recorded(event))

    def _pause(self, until: int, made: int) -> None:
        """Wait for the next attempt; a long wait lets the job park."""

        def wake() -> None:
            self.run.forget(self.step)
            self._again(made)

        self.run.wait_until(Wait(self.step, ParkedReason.TIMER, until, wake))

    def in_doubt(self, n: int, words: Error) -> None:
        """Nobody knows: let the declared rule, or else a person, say what it was."""
        run = self.run
        if self.tool.on_in_doubt is OnInDoubt.FAIL:
            self.failed(n, AttemptState.UNKNOWN, words, source="on_in_doubt")
            return
        now = run.now()
        event = ev.CallInDoubt(
            at=now, step=self.step, n=n, error=words, cause=self.recorded().last_seq
        )
        why = f"{words.message or words.kind}: whether it happened is unknown"
        question = wishes.doubt_question(
            self.step, self.tool.name, self.digest, self.tool.schema, self.args, why, now
        )
        run.queue(changes.in_doubt(event, question))
        self._wait_for_settlement()

    def _wait_for_settlement(self) -> None:
        run = self.run

        def settled(step: Step) -> None:
            run.forget(self.step)
            if step.done:
                run.complete(self.step)
            else:
                self._recover(step)

        run.settled[self.step] = settled
        run.wait_until(Wait(self.step, ParkedReason.IN_DOUBT, 0, lambda: None))

    def probe(self, made: int, words: Error, *, own: bool) -> None:
        """Ask the provider whether an attempt of unknown outcome took place."""
        self.n = made
        Probing(self, words, own=own).begin()

    # --- too late ----------------------------------------------------------------------------

    def _late_thread(self, n: int, result: Any, error: BaseException | None) -> None:  # noqa: ANN401
        """Take note that a thread that was given up has ended after all."""
        self.run.late.discard(self.step)
        data = NONE
        if error is None:
            try:
                data = Raw(codec.canonical(result))
            except AetherisError as problem:
                error = problem
        self._too_late(n, data, error)

    def _too_late(self, n: int, result: Raw, error: BaseException | None) -> None:
        """Keep an answer that came after the job was lost or the call given up."""
        if self.effect is Effect.PURE:
            return
        self.answered_late = self.answered_late or error is None
        host = self.run.host
        wish = wishes.evidence(
            self.run.job, self.step, n=n, worker=host.worker_id,
            epoch=self.run.journal.tip.epoch,
            result=result, error=None if error is None else describe(error),
        )  # fmt: skip
        host.background(_keep(host.store, host.clock, wish))


async def _keep(store: Store, clock: Clock, wish: Delivery) -> None:
    """Write evidence, again and again while the store is busy or full: nobody else has it."""
    while True:
        try:
            await store.deliver(wish, clock.now_ms())
        except (StoreBusy, StoreFull):
            await asyncio.sleep(_AGAIN_S)
        else:
            return
