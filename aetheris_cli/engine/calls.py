"""The ledger at work: how a call is sent, and what follows when that does not end well.

An effectful attempt is preceded by its durable intent; a result is queued and not waited for.
What happens after an error or a crash is read off the tables in `domain.ledger`.
"""

import asyncio
import inspect
from collections.abc import Coroutine
from typing import Any

from msgspec import Raw

from aetheris_cli.domain import changes, codec, ledger, wishes
from aetheris_cli.domain import events as ev
from aetheris_cli.domain.errors import AetherisError, NotSent, Refused
from aetheris_cli.domain.events import NONE, Error
from aetheris_cli.domain.history import Step
from aetheris_cli.domain.ledger import Effect, Next, OnInDoubt, Raised, Recovery, Seen
from aetheris_cli.domain.retry import Retry
from aetheris_cli.domain.states import AttemptState, CallState, ParkedReason
from aetheris_cli.engine.run import Run, Stopped, Wait
from aetheris_cli.engine.threads import Carried, in_thread
from aetheris_cli.ports import failpoints
from aetheris_cli.ports.code import (
    CallInfo,
    DidNotHappen,
    Happened,
    Tool,
    Unknown,
    set_current_call,
)


class Call:
    """One call of a run, from its first attempt to its outcome."""

    __slots__ = (
        "after", "args", "arguments", "cause", "data", "digest", "id", "intent_seq", "key",
        "retry", "run", "step", "timeout_ms", "tool", "user_key",
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
        self.intent_seq = 0

    # --- how it begins -----------------------------------------------------------------------

    def start(self) -> None:
        """Make the first attempt, or go on where the history ends."""
        recorded = self.run.history.steps.get(self.step)
        if recorded is None:
            self._go(self._attempts(0, unknown=False))
        else:
            self._recover(recorded)

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        """Do a part of the call as a task of its own, in flight until it ends."""
        run = self.run
        task = run.loop.create_task(work)
        run.in_flight[self.step] = task
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        run = self.run
        if run.in_flight.get(self.step) is task:
            del run.in_flight[self.step]
        if not task.cancelled():
            error = task.exception()
            if error is not None and not isinstance(error, Stopped):
                run.broken(error)
        if run.running == 0:
            run.check_soon()

    def _recover(self, step: Step) -> None:
        """Go on after a crash, a park or a settlement, as the recovery table says."""
        made = len(step.attempts)
        unknown = any(one.status is AttemptState.UNKNOWN for one in step.attempts)
        if step.call is CallState.IN_DOUBT:
            self._wait_for_settlement()
        elif step.ordered and step.settled is not None:
            self._go(self._attempts(made, unknown=False, evidence=f"settled by {step.settled.by}"))
        elif step.attempts and step.attempts[-1].status is AttemptState.SENT:
            self._recover_sent(step, made)
        elif step.until > self.run.now():
            self._pause(step.until, made, unknown=unknown)
        else:
            self._go(self._attempts(made, unknown=unknown))

    def _recover_sent(self, step: Step, made: int) -> None:
        what = ledger.RECOVERY[Seen.INTENT, self.tool.effect]
        lost = Error("lost", "the worker died between the intent and the result")
        if what is Recovery.RESEND and self._may_resend(step):
            self._go(self._attempts(made, unknown=True, evidence="resend"))
        elif what is Recovery.PROBE:
            self._go(self._probe(made, lost, own=False))
        elif what is Recovery.RERUN:
            self._go(self._attempts(made, unknown=False))
        else:
            self._in_doubt(made, lost)

    def _may_resend(self, step: Step) -> bool:
        return ledger.may_resend(
            self.run.now(), step.first_intent_at, self.tool.key_ttl_ms, ledger.KEY_MARGIN_MS
        )

    # --- attempts ----------------------------------------------------------------------------

    async def _attempts(self, made: int, *, unknown: bool, evidence: str = "") -> None:
        run = self.run
        n = made + 1
        if run.host.committer.full:
            await run.host.committer.room()
        started = run.now()
        if self.tool.effect is not Effect.PURE:
            failpoints.hit("intent.before_commit")
            await run.durable(changes.intended(self._intent(n, started, evidence)))
            failpoints.hit("intent.after_commit")
        try:
            value = await self._send(n)
            data = codec.canonical(value, f"the result of tool {self.tool.name}")
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise  # ours, and not something the tool did to itself
            failpoints.hit("call.after_send")
            if run.over:
                await self._too_late(n, NONE, error)
                return
            self._raised(n, started, error, unknown=unknown)
            return
        failpoints.hit("call.after_send")
        if run.over:
            await self._too_late(n, Raw(data), None)
            return
        self._succeeded(n, started, Raw(data))

    def _intent(self, n: int, now: int, evidence: str) -> ev.CallIntended:
        event = ev.CallIntended(at=now, cause=self.cause, step=self.step, n=n, evidence=evidence)
        if n == 1:
            self._describe(event)
        return event

    def _describe(self, event: ev.Command) -> None:
        """Put into the call's first event what never changes about it."""
        tool = self.tool
        event.tool, event.effect, event.args = tool.name, tool.effect, self.args
        event.digest, event.schema, event.key = self.digest, tool.schema, self.user_key
        event.after = self.after
        if tool.on_in_doubt is not OnInDoubt.PARK:
            event.rule = tool.on_in_doubt

    def _ended(self, event: ev.Command, started: int) -> ev.Command:
        """Complete the event that ends an attempt: what it follows, or what it stands for."""
        if self.tool.effect is Effect.PURE:
            event.started_at, event.cause = started, self.cause
            if event.n == 1:
                self._describe(event)
        else:
            event.cause = self.run.history.steps[self.step].last_seq
        return event

    async def _send(self, n: int) -> Any:  # noqa: ANN401 - the tool's own
        tool = self.tool
        arguments, self.arguments = self.arguments or tool.read(self.data), None
        info = CallInfo(self.id, self.key, n, self.run.tip.epoch, arguments)
        set_current_call(info)
        failpoints.hit("call.before_send")
        async with asyncio.timeout(self.timeout_ms / 1_000):
            if tool.is_async:
                return await tool.run(**arguments)
            try:
                return await in_thread(
                    self.run.host.threads,
                    lambda: tool.run(**arguments),
                    lambda result, error: self._late_thread(n, result, error),
                )
            except asyncio.CancelledError:
                self.run.late.add(self.step)  # the thread itself cannot be stopped
                raise

    # --- how an attempt ends -----------------------------------------------------------------

    def _succeeded(self, n: int, started: int, result: Raw, source: str = "") -> None:
        event = ev.CallSucceeded(
            at=self.run.now(), step=self.step, n=n, result=result, source=source
        )
        self._ended(event, started)
        failpoints.hit("result.before_commit")
        self._close(event)

    def _close(self, event: ev.CallSucceeded | ev.CallFailed) -> None:
        change = changes.recorded(event)
        if failpoints.armed():
            change.on_durable = lambda: failpoints.hit("result.after_commit")
        self.run.queue(change)
        self.run.complete(self.step)

    def _raised(self, n: int, started: int, error: BaseException, *, unknown: bool) -> None:
        """Decide, by the table, what an attempt that raised was and what follows."""
        words = _describe_error(error)
        outcome, following = ledger.judge(_kind(error), self.tool.effect, earlier_unknown=unknown)
        unknown = unknown or outcome is AttemptState.UNKNOWN
        left = n < self.retry.max
        if following is Next.RETRY and left:
            self._retry(n, started, outcome, words, unknown=unknown)
        elif following is Next.RESEND and left and self._may_resend(self._step()):
            self._retry(n, started, outcome, words, unknown=True)
        elif following is Next.PROBE:
            self._go(self._probe(n, words, own=True))
        elif following in {Next.RETRY, Next.FAIL}:
            event = ev.CallFailed(
                at=self.run.now(), step=self.step, n=n, outcome=outcome, error=words
            )
            self._ended(event, started)
            self._close(event)
        else:
            self._in_doubt(n, words)

    def _step(self) -> Step:
        return self.run.history.steps[self.step]

    def _retry(
        self, n: int, started: int, outcome: AttemptState, words: Error, *, unknown: bool
    ) -> None:
        now = self.run.now()
        next_at = now + self.retry.wait_ms(n, self.run.host.clock.roll())
        event = ev.CallRetrying(
            at=now, step=self.step, n=n, outcome=outcome, error=words, next_at=next_at
        )
        self._ended(event, started)
        self.run.queue(changes.recorded(event))
        self._pause(next_at, n, unknown=unknown)

    def _pause(self, until: int, made: int, *, unknown: bool) -> None:
        """Wait for the next attempt; a long wait lets the job park."""
        step = self._step()

        def wake() -> None:
            if unknown and self.tool.effect is Effect.KEY and not self._may_resend(step):
                self._in_doubt(made, Error("key_expired", "the key's lifetime is over"))
            else:
                evidence = "resend" if unknown else ""
                self._go(self._attempts(made, unknown=unknown, evidence=evidence))

        self.run.wait_until(Wait(self.step, ParkedReason.TIMER, until, wake))

    def _in_doubt(self, n: int, words: Error) -> None:
        """Nobody knows: let the declared rule, or else a person, say what it was."""
        run = self.run
        now = run.now()
        if self.tool.on_in_doubt is OnInDoubt.FAIL:
            failed = ev.CallFailed(
                at=now, step=self.step, n=n, outcome=AttemptState.UNKNOWN, error=words,
                source="on_in_doubt", cause=self._step().last_seq,
            )  # fmt: skip
            self._close(failed)
            return
        event = ev.CallInDoubt(
            at=now, step=self.step, n=n, error=words, cause=self._step().last_seq
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
            run.waits.pop(self.step, None)
            if step.done:
                run.complete(self.step)
            else:
                self._recover(step)

        run.settled[self.step] = settled
        run.wait_until(Wait(self.step, ParkedReason.IN_DOUBT, 0, lambda: None))

    # --- probing -----------------------------------------------------------------------------

    async def _probe(self, made: int, words: Error, *, own: bool) -> None:
        """Ask the provider whether an attempt of unknown outcome took place.

        `own`: the attempt was made by this very run, whose thread may still be running.
        """
        run, step = self.run, self._step()
        trusted_at = step.last_intent_at + (self.tool.max_time_ms or 0)
        if self.tool.max_time_ms is not None and run.now() < trusted_at:
            # Only then can "no" be final. A job that crashes here waits no longer than that.
            wait = Wait(
                self.step, ParkedReason.TIMER, trusted_at,
                lambda: self._go(self._probe(made, words, own=own)),
            )  # fmt: skip
            run.loop.call_soon(run.wait_until, wait)
            return
        owner = step.attempts[-1].worker
        gone = (own and self.step not in run.late) or await run.host.owner_gone(owner)
        answer = await self._ask(made)
        if isinstance(answer, Happened):
            try:
                data = codec.canonical(answer.result, f"the probe's answer for {self.tool.name}")
            except AetherisError as error:
                self._in_doubt(made, _describe_error(error))
                return
            self._succeeded(made, step.last_intent_at, Raw(data), source="probe")
        elif isinstance(answer, DidNotHappen) and ledger.may_trust_no(
            owner_dead=gone,
            children_gone=True,
            now_ms=run.now(),
            last_intent_ms=step.last_intent_at,
            max_time_ms=self.tool.max_time_ms,
        ):
            if made < max(self.retry.max, made + 1 if not own else 0):
                await self._attempts(made, unknown=False, evidence="probe")
            else:
                event = ev.CallFailed(
                    at=run.now(), step=self.step, n=made, outcome=AttemptState.NOT_SENT,
                    error=words, source="probe", cause=step.last_seq,
                )  # fmt: skip
                self._close(event)
        else:
            why = answer.why if isinstance(answer, Unknown) and answer.why else words.message
            self._in_doubt(made, Error(words.kind, why))

    async def _ask(self, n: int) -> object:
        probe = self.tool.probe
        if probe is None:
            return Unknown("the tool has no probe")
        info = CallInfo(self.id, self.key, n, self.run.tip.epoch, self.tool.read(self.data))
        try:
            async with asyncio.timeout(self.timeout_ms / 1_000):
                if inspect.iscoroutinefunction(probe):
                    return await probe(info)
                return await in_thread(
                    self.run.host.threads, lambda: probe(info), lambda _result, _error: None
                )
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - a probe may raise anything
            return Unknown(f"the probe failed: {_describe_error(error).message}")

    # --- too late ----------------------------------------------------------------------------

    def _late_thread(self, n: int, result: Any, error: BaseException | None) -> None:  # noqa: ANN401
        """Take note that a thread that was given up has ended after all."""
        self.run.late.discard(self.step)
        if self.tool.effect is Effect.PURE:
            return
        data = NONE
        if error is None:
            try:
                data = Raw(codec.canonical(result))
            except AetherisError as problem:
                error = problem
        self.run.loop.create_task(self._too_late(n, data, error))

    async def _too_late(self, n: int, result: Raw, error: BaseException | None) -> None:
        """Keep an answer that came after the job was lost or the call given up."""
        if self.tool.effect is Effect.PURE:
            return
        host = self.run.host
        wish = wishes.evidence(
            self.run.job, self.step, n=n, worker=host.worker_id, epoch=self.run.tip.epoch,
            result=result, error=None if error is None else _describe_error(error),
        )  # fmt: skip
        await host.store.deliver(wish, host.clock.now_ms())


def _kind(error: BaseException) -> Raised:
    if isinstance(error, Carried):
        error = error.error
    if isinstance(error, NotSent):
        return Raised.NOT_SENT
    if isinstance(error, Refused):
        return Raised.REFUSED
    return Raised.OTHER


def _describe_error(error: BaseException) -> Error:
    if isinstance(error, Carried):
        error = error.error
    if isinstance(error, TimeoutError):
        kind, text = "timeout", str(error) or "no answer in time"
    else:
        kind = error.code if isinstance(error, AetherisError) else _kind(error).value
        text = str(error)
    text = text[:2_000].encode("utf-8", "replace").decode()
    return Error("error" if kind == "other" else kind, text, type(error).__name__)
