"""How outcomes reach the agent's code: in the order in which the history has them.

At first the code catches up: its commands are held against the script, and each recorded outcome
is given when the code has come to rest after the one before. What arrives meanwhile is given last.
Then it is live: new commands start at once, and outcomes are given as they come, unless the
history may yet put another one in front of them.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from aetheris_cli.domain.history import History, Step
from aetheris_cli.engine.branches import Pending
from aetheris_cli.engine.journal import Stopped
from aetheris_cli.engine.outcome import outcome
from aetheris_cli.engine.script import Divergence, Script, compare

_PATIENCE_TURNS: Final = 32
"""So long code that catches up may be busy with its own before the next outcome is given."""


class Code(Protocol):
    """Whose outcomes they are: the run."""

    job: str
    history: History
    loop: asyncio.AbstractEventLoop
    running: int
    stopping: bool

    @property
    def gone(self) -> bool:
        """Whether no command has any effect any more."""

    @property
    def stalled(self) -> bool:
        """Whether nothing may go on before the inbox has been read."""

    def check_soon(self) -> None:
        """Look, when this turn of the loop is over, whether the code is at rest."""

    def diverged(self, found: Divergence) -> None:
        """Take note that the code is not the one whose history this is."""

    def doing(self) -> str:
        """Say what the code does instead of what it should."""


class Delivery:
    """The outcomes of one run, on their way to its code."""

    def __init__(self, code: Code) -> None:
        self._code: Code | None = code
        self._job = code.job
        self._history = code.history
        self._loop = code.loop
        self._script = Script(code.history)
        self._pendings: dict[str, Pending] = {}
        self._held: list[tuple[str, Callable[[], None]]] = []
        self._turns: dict[str, bool] = {}
        """Outcomes that must be given in this order, and whether each is there."""
        self._patience = 0
        self.live = False
        """Whether the code has caught up with the history, so that new commands may start."""

    def begin(self) -> None:
        """Begin with code that has not run yet."""
        self._maybe_live()

    def close(self) -> None:
        """Let go of the run, and of all who wait."""
        self._code = None  # or the two would keep each other alive
        for pending in self._pendings.values():
            pending.resolve(None, Stopped())
        self._pendings.clear()
        self._held.clear()

    # --- commands ----------------------------------------------------------------------------

    def expect(self, pending: Pending) -> Pending:
        """Take note of who waits for a step."""
        self._pendings[pending.step] = pending
        return pending

    @property
    def holds(self) -> bool:
        """Whether commands wait until the code has caught up."""
        return not self.live or bool(self._held)

    def hold(self, step: str, start: Callable[[], None]) -> None:
        """Start a command without an outcome as soon as the code has caught up."""
        if self.live and self._code is not None and not self._code.stopping:
            start()
        else:
            self._held.append((step, start))

    def take(
        self,
        step: str,
        kind: str,
        name: str,
        digest: str,
        *,
        args: bytes = b"",
        key: str = "",
        schema: str = "",
    ) -> Step | None:
        """Give what is recorded at `step`, None when the command is new.

        Raises Stopped when another command is recorded there.
        """
        if self.live:
            return None
        self._be_patient()
        found = self._script.take(step)
        if found is None:
            self.unrecorded(step, f"{kind} {name}".strip())
            return None
        difference = compare(found, kind, name, digest, args=args, key=key, schema=schema)
        if difference is not None:
            self._diverged(difference)
            raise Stopped
        self._maybe_live()
        return found

    def unrecorded(self, step: str, what: str) -> None:
        """Take note of a command that the history does not hold (yet)."""

    def _diverged(self, found: Divergence) -> None:
        if self._code is not None:
            self._code.diverged(found)

    # --- catching up -------------------------------------------------------------------------

    def _maybe_live(self) -> None:
        if not self.live and self._script.over:
            self.live = True
            self._loop.call_soon(self._start_held)

    def _start_held(self) -> None:
        if self._code is None or self._code.gone or self._code.stopping:
            return
        held, self._held = self._held, []
        for step, start in held:
            recorded = self._history.steps.get(step)
            if recorded is None or not recorded.done:  # else it has come meanwhile
                start()
        self._code.check_soon()

    @property
    def caught_up(self) -> bool:
        """Whether all that is recorded has been issued and given."""
        return self._script.over

    def give_next(self) -> bool:
        """Give the next recorded outcome. False: look again when that has had its effect."""
        code, order = self._code, self._script.order
        if code is None:
            return False
        pending = self._pendings.pop(order[0], None) if order else None
        if pending is not None:
            order.popleft()
            self._maybe_live()
            self._be_patient()
            pending.resolve(*outcome(self._job, self._script.step(pending.step)))
            code.check_soon()
            return False
        if not self._script.over:
            code.diverged(self._script.missing(code.doing()))
            return False
        return self.live

    def _be_patient(self) -> None:
        """Let code that has just gone on come to rest.

        Branches that wait for each other by means of their own, a semaphore say, never rest all
        at once. When nothing has happened for some turns of the loop, the next outcome is due.
        """
        begin = self._patience == 0 and not self.live
        self._patience = _PATIENCE_TURNS
        if begin:
            self._loop.call_soon(self._wait_patiently)

    def _wait_patiently(self) -> None:
        code = self._code
        if self.live or code is None or code.gone:
            self._patience = 0
            return
        self._patience -= 1
        if self._patience:
            self._loop.call_soon(self._wait_patiently)
        elif code.running and not code.stalled:
            self.lost_patience()

    def lost_patience(self) -> None:
        """Give the next outcome although code is running, if anything waits for it."""
        if self._script.order and self._script.order[0] in self._pendings:
            self.give_next()

    # --- outcomes that come ------------------------------------------------------------------

    def complete(self, step: str) -> None:
        """Give the outcome that the history now has for `step`, when it is its turn."""
        if not self.live:
            self._script.arrived(step)
            if self._code is not None:
                self._code.check_soon()
        elif self._turns:
            self._turns[step] = True
            self._give_turns()
        else:
            self._give(step)

    def reserve(self, step: str) -> None:
        """Keep the next place in the order for `step`: its outcome is written and not sure yet."""
        self._turns[step] = False

    def withdraw(self, step: str) -> None:
        """Give the place of `step` up."""
        self._turns.pop(step, None)
        self._give_turns()

    def _give_turns(self) -> None:
        while self._turns:
            step, there = next(iter(self._turns.items()))
            if not there:
                return
            del self._turns[step]
            self._give(step)

    def _give(self, step: str) -> None:
        pending = self._pendings.pop(step, None)
        if pending is not None:
            pending.resolve(*outcome(self._job, self._history.steps[step]))
