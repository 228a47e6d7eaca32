"""A call with a global key: it asks for the key before its first intent."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from aetheris_cli.domain.errors import Bug, StoreBusy, StoreFull
from aetheris_cli.domain.events import Error
from aetheris_cli.domain.history import Step
from aetheris_cli.domain.keys import Claim, Held, Hold
from aetheris_cli.domain.states import AttemptState, ParkedReason, StepState
from aetheris_cli.engine.run import Run, Wait

_AGAIN_S: Final = 0.5


class Keyed(Protocol):
    """The call that asks."""

    run: Run
    step: str
    halted: bool

    def claim(self) -> Claim:
        """Name the key that it wants."""

    def halt(self) -> None:
        """Begin nothing more."""

    def left(self) -> None:
        """Take note that nothing of the call is under way."""

    def copied(self, step: Step) -> None:
        """Take the outcome of the call that holds the key."""

    def failed(self, n: int, outcome: AttemptState, error: Error, source: str = "") -> None:
        """End without success."""


class Asking:
    """The wish of one call to hold its key, until it does or takes another's outcome."""

    def __init__(self, call: Keyed, then: Callable[[], None]) -> None:
        self._call = call
        self._then = then
        self._asking = False
        self._again = False

    def ask(self) -> None:
        """Ask the store."""
        run = self._call.run
        run.keyed[self._call.step] = self
        run.in_flight[self._call.step] = self._call
        self._asking = True
        run.host.background(self._ask())

    def look_again(self) -> None:
        """Something has arrived in the inbox: the key may be free."""
        if self._asking:
            self._again = True
        else:
            self._call.run.forget(self._call.step)
            self.ask()

    async def _ask(self) -> None:
        call, run = self._call, self._call.run
        held: Held | None = None
        while held is None or (held.how is Hold.WAIT and self._again):
            self._again = False
            try:
                held = await run.host.store.hold_key(call.claim(), run.now())
            except (StoreBusy, StoreFull):
                await asyncio.sleep(_AGAIN_S)
            if call.halted or run.over or run.journal.ending:
                return
        self._asking = False
        if held.how is Hold.OURS:
            del run.keyed[call.step]
            self._then()
            return
        call.left()
        self._not_ours(held)
        if run.running == 0:
            run.still()

    def _not_ours(self, held: Held) -> None:
        call, run = self._call, self._call.run
        if held.how is Hold.WAIT:
            run.wait_until(Wait(call.step, ParkedReason.GLOBAL_KEY, 0, lambda: None))
            return
        del run.keyed[call.step]
        if held.how is Hold.LOST:
            run.discard()
        elif held.how is Hold.CONFLICT:
            words = f"call {held.call_id} holds this key with other arguments"
            call.failed(1, AttemptState.REFUSED, Error("conflict", words), "global_key")
        elif held.step is not None:
            call.copied(held.step)
        else:
            raise Bug("a key whose call is done came without that call")


def outcome(step: Step) -> tuple[AttemptState, Error]:
    """Say how a call without success ended, for those that copy it."""
    if step.state is not StepState.FAILED:
        raise Bug(f"step {step.id} has not failed")
    last = step.attempts[-1].status if step.attempts else AttemptState.REFUSED
    return last, step.error or Error("failed", "the call that holds the key failed")
