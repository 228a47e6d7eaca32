"""Replay: the agent's present code over a recorded history. Nothing is sent, nothing is written.

The same script that resumes a job holds each command of the code against the record and
delivers the recorded outcomes in their order. A replay never catches up into live work: what
the code does beyond the record of an ended job is its first difference.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import msgspec

from aetheris_cli.domain import codec
from aetheris_cli.domain import events as ev
from aetheris_cli.domain.errors import Bug, InvalidPayload
from aetheris_cli.domain.events import AnyEvent
from aetheris_cli.domain.history import Step
from aetheris_cli.domain.records import JobRow
from aetheris_cli.engine.branches import Branch
from aetheris_cli.engine.committer import Committer
from aetheris_cli.engine.deadlines import Deadlines
from aetheris_cli.engine.delivery import Delivery
from aetheris_cli.engine.endings import TIMED_OUT, words
from aetheris_cli.engine.perform import perform
from aetheris_cli.engine.run import Run
from aetheris_cli.engine.script import Divergence
from aetheris_cli.engine.threads import Threads
from aetheris_cli.ports.clock import Clock
from aetheris_cli.ports.code import Agent, Registry
from aetheris_cli.ports.store import Store


class Report(msgspec.Struct, frozen=True):
    """What a replay found."""

    job_id: str
    agent: str
    steps: int
    """How many recorded steps the code repeated."""
    divergence: Divergence | None = None

    @property
    def matched(self) -> bool:
        """Whether the code does what the history says."""
        return self.divergence is None


class _Nobody:
    """The host of a replay: it has code and clocks, and no way to write."""

    worker_id = ""
    sending = 0

    def __init__(self, registry: Registry, clock: Clock) -> None:
        self.registry = registry
        self.clock = clock
        self.threads = Threads()
        self.deadlines = Deadlines(asyncio.get_running_loop())

    @property
    def store(self) -> Store:
        """Refuse."""
        raise _written()

    @property
    def committer(self) -> Committer:
        """Refuse."""
        raise _written()

    async def owner_gone(self, worker: str) -> bool:  # noqa: ARG002 - the protocol's
        """Refuse."""
        raise _written()

    async def children_gone(self, worker: str) -> bool:  # noqa: ARG002 - the protocol's
        """Refuse."""
        raise _written()

    def run_over(self, run: Run) -> None:
        """Do nothing: nobody owns a replay."""

    def failed(self, error: BaseException) -> None:
        """Raise what went wrong in the engine."""
        raise error

    def background(self, work: Coroutine[Any, Any, None]) -> None:
        """Refuse."""
        work.close()
        raise _written()

    def child_spawned(self) -> None:
        """Refuse."""
        raise _written()


def _written() -> Bug:
    return Bug("a replay tried to reach a store")


class _Recitation(Delivery):
    """A delivery that never becomes live: what is new is not begun, it is a difference."""

    repeated = 0

    def _maybe_live(self) -> None:
        """Stay what it is."""

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
        """Count what is repeated."""
        found = super().take(step, kind, name, digest, args=args, key=key, schema=schema)
        self.repeated += found is not None
        return found

    def unrecorded(self, step: str, what: str) -> None:
        """Take a new command for a difference if the job has ended by its own code."""
        ended = self._history.ended
        if isinstance(ended, ev.JobSucceeded | ev.JobFailed) and not _cut_off(ended):
            self._diverged(
                Divergence(
                    step,
                    expected="nothing at that place",
                    found=what,
                    hint="a command was added, or a condition decides otherwise than it did",
                )
            )


class _Rehearsal(Run):
    """A run that never begins anything."""

    delivery_type = _Recitation
    delivery: _Recitation

    def __init__(self, agent: Agent, row: JobRow, events: Sequence[AnyEvent], host: Any) -> None:  # noqa: ANN401
        super().__init__(host, agent, row, events, perform)
        self.result: asyncio.Future[Divergence | None] = self.loop.create_future()

    def start(self) -> None:
        """Begin, without a look at the inbox."""
        self.spawn(Branch(), self._perform(self), self._main_done)

    def diverged(self, found: Divergence) -> None:
        """End with the first difference."""
        self._over(found)

    def _check(self) -> None:
        self._checking = False
        if self.running or self.over:
            return
        if not self.delivery.caught_up:
            self.delivery.give_next()
        else:
            self._over(self._end_differs())

    def _over(self, found: Divergence | None) -> None:
        if not self.result.done():
            self.result.set_result(found)
            self.loop.call_soon(self._stop_code)

    def _end_differs(self) -> Divergence | None:
        """Compare how the code ended with how the job did."""
        ended = self.history.ended
        if not isinstance(ended, ev.JobSucceeded | ev.JobFailed) or _cut_off(ended):
            return None  # the job is open, or was cut off wherever its code was
        expected = "success" if isinstance(ended, ev.JobSucceeded) else "failure"
        hint = "what the agent returns depends on something that is not recorded"
        if self._end is None:
            return Divergence("end", expected, "no end: the code waits", hint)
        value, error = self._end
        if error is None:
            try:
                output = codec.canonical(value, "the output")
            except InvalidPayload as problem:
                error = problem
            else:
                if isinstance(ended, ev.JobSucceeded) and output == bytes(ended.output):
                    return None
                return Divergence("end", expected, f"the output {output[:200].decode()}", hint)
        said = words(error)
        if isinstance(ended, ev.JobFailed) and (said.kind, said.type) == (
            ended.error.kind,
            ended.error.type,
        ):
            return None
        return Divergence("end", expected, f"{said.type}: {said.message}", hint)


def _cut_off(ended: ev.JobSucceeded | ev.JobFailed) -> bool:
    return isinstance(ended, ev.JobFailed) and ended.error.kind == TIMED_OUT


async def replay(
    agent: Agent, row: JobRow, events: Sequence[AnyEvent], registry: Registry, clock: Clock
) -> Report:
    """Run the code of `agent` over the history of a job and report the first difference."""
    run = _Rehearsal(agent, row, events, _Nobody(registry, clock))
    run.start()
    found = await run.result
    return Report(row.id, agent.id, run.delivery.repeated, found)
