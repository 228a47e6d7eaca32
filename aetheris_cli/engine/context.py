"""What an async agent sees: `ctx`. Each method is a command with a fixed place in the program."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from random import Random
from typing import Any
from uuid import UUID

from aetheris_cli.domain import codec
from aetheris_cli.domain.retry import Retry
from aetheris_cli.engine.branches import NOWHERE, Branch, Never, Pending
from aetheris_cli.engine.commands import Commands
from aetheris_cli.engine.gather import MAX_AT_ONCE, Gather, check
from aetheris_cli.engine.outcome import Decision
from aetheris_cli.engine.run import Run


class Facts(ABC):
    """What both contexts know about the job."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._commands = Commands(run)

    @property
    def job_id(self) -> str:
        """The id of the job."""
        return self._run.job

    @property
    def agent(self) -> str:
        """The id of the agent."""
        return self._run.agent.id

    @property
    def message(self) -> str:
        """The message that the job was submitted with."""
        submitted = self._run.history.submitted
        return submitted.message if submitted is not None else ""

    @property
    def input(self) -> Any:  # noqa: ANN401 - any JSON
        """The input that the job was submitted with, or None."""
        submitted = self._run.history.submitted
        if submitted is None or not len(submitted.input):
            return None
        return codec.decode(bytes(submitted.input))

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the job."""
        submitted = self._run.history.submitted
        return dict(submitted.labels) if submitted is not None else {}

    @abstractmethod
    def _here(self) -> Branch:
        """Give the branch whose code is running. Raises UsageError in any other place."""

    def now(self) -> datetime:
        """Give the time, UTC; the recorded one when the job is resumed or replayed."""
        ms = self._commands.value(self._here(), "now", self._run.now)
        return datetime.fromtimestamp(ms / 1_000, UTC)

    def random(self) -> Random:
        """Give a source of chance that yields the same at every run of the job."""
        return self._commands.seeded(self._here(), "random")

    def uuid(self) -> UUID:
        """Give a UUID that is the same at every run of the job."""
        return UUID(int=self._commands.seeded(self._here(), "uuid").getrandbits(128), version=4)

    def patched(self, name: str) -> bool:
        """Whether to take the new side of a change: False for jobs that have passed it before."""
        return self._commands.patched(self._here(), name)

    def log(self, text: str, **fields: Any) -> None:  # noqa: ANN401 - any JSON
        """Write a line into the job's trace, once, and not again on replay."""
        self._commands.log(self._here(), text, fields)


class Context(Facts):
    """What an async agent works with."""

    def _here(self) -> Branch:
        return self._run.here()

    def call(
        self,
        tool: object,
        /,
        *,
        key: str | None = None,
        timeout: str | float | None = None,
        retry: Retry | None = None,
        **args: Any,  # noqa: ANN401 - the tool's own
    ) -> Pending | Never:
        """Call a tool; it starts now and is awaited for its result.

        Raises CallFailed (when awaited) if the call ended without success.
        """
        return self._commands.call(self._here(), tool, args, key=key, timeout=timeout, retry=retry)

    def approval(
        self,
        title: str,
        *,
        details: Any = None,  # noqa: ANN401 - any JSON
        role: str | None = None,
        expires: str | float | None = None,
    ) -> Awaitable[Decision]:
        """Ask a person; the job parks until someone decides or the time is over (then: no)."""
        return self._commands.approval(
            self._here(), title, details=details, role=role, expires=expires
        )

    def wait_signal(self, name: str, *, timeout: str | float | None = None) -> Pending | Never:
        """Wait for a signal of that name. Raises TimedOut (when awaited)."""
        return self._commands.signal(self._here(), name, timeout)

    def sleep(self, duration: str | float) -> Pending | Never:
        """Wait; a long sleep holds no worker."""
        return self._commands.sleep(self._here(), duration)

    def child(self, agent: object, message: str = "", *, input: Any = None) -> Pending | Never:  # noqa: A002, ANN401
        """Run another agent as a child job; gives its output. Raises CallFailed."""
        return self._commands.child(self._here(), agent, message, input)

    async def gather(
        self, *branches: Callable[[], Awaitable[Any]], limit: int = MAX_AT_ONCE
    ) -> list[Any]:
        """Run branches in parallel, at most `limit` at once, and give their results in order.

        All branches run to their end; then the first exception, in the order of the arguments,
        is raised.
        """
        here = self._here()
        if here is NOWHERE:
            await Never()
        check(branches)
        return await Gather(self._run, here, branches, limit).results()

    async def checkpoint(self) -> None:
        """Wait until everything recorded so far is on the disk."""
        if self._here() is NOWHERE:
            await Never()
        if self._run.delivery.live:
            await self._run.journal.barrier()
