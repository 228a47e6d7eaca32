"""A call of class `probe` whose outcome is unknown: its provider is asked, after a quarantine."""

import asyncio
import inspect
from typing import Protocol

from msgspec import Raw

from aetheris_cli.domain import codec, ledger
from aetheris_cli.domain.errors import AetherisError
from aetheris_cli.domain.events import Error
from aetheris_cli.domain.history import Step
from aetheris_cli.domain.retry import Retry
from aetheris_cli.domain.states import AttemptState, ParkedReason
from aetheris_cli.engine.endings import text_of
from aetheris_cli.engine.failures import describe
from aetheris_cli.engine.journal import Stopped
from aetheris_cli.engine.run import Run, Wait
from aetheris_cli.engine.threads import in_thread
from aetheris_cli.ports.code import CallInfo, DidNotHappen, Happened, Tool, Unknown


class Probed(Protocol):
    """The call that asks."""

    run: Run
    step: str
    tool: Tool
    data: bytes
    id: str
    key: str
    n: int
    retry: Retry
    timeout_ms: int
    task: asyncio.Task[None] | None
    halted: bool
    answered_late: bool

    def recorded(self) -> Step:
        """Give the call as the history has it."""

    def halt(self) -> None:
        """Begin nothing more, and cancel what runs."""

    def left(self) -> None:
        """Take note that nothing of the call is under way."""

    def attempt(self, made: int, *, unknown: bool, evidence: str = "") -> None:
        """Begin the next attempt."""

    def succeeded(self, n: int, result: Raw, source: str = "") -> None:
        """Record the call's result."""

    def failed(self, n: int, outcome: AttemptState, error: Error, source: str = "") -> None:
        """Record that the call ended without success."""

    def in_doubt(self, n: int, words: Error) -> None:
        """Let the declared rule, or else a person, say what it was."""


class Probing:
    """One question to a provider: whether the latest attempt of the call took place.

    `words`: why that is unknown. `own`: the attempt was made by this very run, whose thread may
    still be running.
    """

    def __init__(self, call: Probed, words: Error, *, own: bool) -> None:
        self._call = call
        self._words = words
        self._own = own

    def begin(self) -> None:
        """Ask, as soon as a "no" can be final."""
        call, run = self._call, self._call.run
        limit = call.tool.max_time_ms
        trusted_at = call.recorded().last_intent_at + (limit or 0)
        if limit is not None and run.now() < trusted_at:
            # A job that crashes here waits no longer than that.
            def look() -> None:
                run.forget(call.step)
                self.begin()

            run.wait_until(Wait(call.step, ParkedReason.TIMER, trusted_at, look))
            return
        run.in_flight[call.step] = call
        call.task = run.loop.create_task(self._probe())

    async def _probe(self) -> None:
        call, run = self._call, self._call.run
        try:
            gone, alone = await self._silent()
            answer = await self._ask()
            call.left()
            self._told(answer, gone=gone, alone=alone)
            if run.running == 0:
                run.still()
        except (Stopped, asyncio.CancelledError):
            return  # the job ends, and the call stays in doubt
        except BaseException as problem:  # noqa: BLE001 - it is ours, and must not be lost
            run.broken(problem)

    async def _silent(self) -> tuple[bool, bool]:
        """Say whether the attempt's own worker, and programs it has begun, send nothing more."""
        call, host = self._call, self._call.run.host
        owner = call.recorded().attempts[-1].worker
        if not self._own:
            return await host.owner_gone(owner), await host.children_gone(owner)
        if call.step in call.run.late:
            return False, False  # its thread still runs
        # It has ended. What was given up may have left a program behind.
        return True, self._words.kind != "timeout" or await host.children_gone(owner)

    def _told(self, answer: object, *, gone: bool, alone: bool) -> None:
        """Act on what the probe said."""
        call, words = self._call, self._words
        made, step = call.n, call.recorded()
        if isinstance(answer, Happened):
            try:
                data = codec.canonical(answer.result, f"the probe's answer for {call.tool.name}")
            except AetherisError as error:
                call.in_doubt(made, describe(error))
                return
            call.succeeded(made, Raw(data), source="probe")
        elif call.answered_late or any(one.error is None for one in step.evidence):
            call.in_doubt(made, Error("contradiction", "a late answer says that it happened"))
        elif isinstance(answer, DidNotHappen) and ledger.may_trust_no(
            owner_dead=gone,
            children_gone=alone,
            now_ms=call.run.now(),
            last_intent_ms=step.last_intent_at,
            max_time_ms=call.tool.max_time_ms,
        ):
            # After a crash the attempt that was lost is not held against the call.
            if made < call.retry.max or not self._own:
                call.attempt(made, unknown=False, evidence="probe")
            else:
                call.failed(made, AttemptState.NOT_SENT, words, source="probe")
        else:
            why = answer.why if isinstance(answer, Unknown) and answer.why else words.message
            call.in_doubt(made, Error(words.kind, text_of(why)))

    async def _ask(self) -> object:
        call = self._call
        probe = call.tool.probe
        if probe is None:
            return Unknown("the tool has no probe")
        epoch = call.run.journal.tip.epoch
        info = CallInfo(call.id, call.key, call.n, epoch, call.tool.read(call.data))
        try:
            async with asyncio.timeout(call.timeout_ms / 1_000):
                if inspect.iscoroutinefunction(probe):
                    return await probe(info)
                return await in_thread(
                    call.run.host.threads, lambda: probe(info), lambda _result, _error: None
                )
        except BaseException as error:
            if call.halted:
                raise
            return Unknown(f"the probe failed: {describe(error).message}")
