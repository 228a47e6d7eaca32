"""What a plain agent sees: `ctx` with blocking methods, in threads of its own."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError as FutureCancelled
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any, TypeVar

from aetheris_cli.domain.errors import UsageError
from aetheris_cli.domain.retry import Retry
from aetheris_cli.engine.branches import Branch, Never, Pending
from aetheris_cli.engine.context import Facts
from aetheris_cli.engine.gather import MAX_AT_ONCE, Gather, check
from aetheris_cli.engine.journal import Stopped
from aetheris_cli.engine.outcome import Decision
from aetheris_cli.engine.run import Run
from aetheris_cli.engine.threads import carried

Result = TypeVar("Result")


class SyncContext(Facts):
    """What a plain agent works with: the same names, blocking. It runs in a thread.

    The signatures stand here once more because they give values where those of `Context` give
    awaitables: an author's editor and type checker read them.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._branches: dict[int, Branch] = {}

    async def drive(self, function: Callable[..., Any], *args: Any) -> Any:  # noqa: ANN401
        """Run the agent's function in a thread, as the branch whose task this is."""
        return await self._in_thread(self._run.here(), lambda: function(self, *args))

    async def _in_thread(self, branch: Branch, function: Callable[[], Any]) -> Any:  # noqa: ANN401
        run = self._run
        done: asyncio.Future[Any] = run.loop.create_future()

        def work() -> Any:  # noqa: ANN401
            ident = threading.get_ident()
            self._branches[ident] = branch
            try:
                return function()
            finally:
                del self._branches[ident]

        def ended(result: Any, error: BaseException | None) -> None:  # noqa: ANN401
            if done.done():
                return
            if error is None:
                done.set_result(result)
            elif isinstance(error, Stopped):
                done.cancel()
            else:
                done.set_exception(carried(error))

        run.host.threads.start(
            work, lambda result, error: _hop(run.loop, lambda: ended(result, error))
        )
        return await done

    def _here(self) -> Branch:
        branch = self._branches.get(threading.get_ident())
        if branch is None:
            raise UsageError(
                "ctx was used from a thread that is not a branch of the job",
                why="commands from there have no fixed place, so they could not be recovered",
                fix="use ctx.gather(function, function) to do things in parallel",
            )
        return branch

    def _on_loop(self, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Do something on the event loop and wait for it here."""
        if self._run.gone:
            self._run.warn()
            threading.Event().wait()  # it goes on all the same: for ever, and at no cost
        future: Future[Result] = asyncio.run_coroutine_threadsafe(work(), self._run.loop)
        try:
            return future.result()
        except (FutureCancelled, RuntimeError) as error:
            if self._run.over:
                raise Stopped from error
            raise

    def _await(self, issue: Callable[[Branch], Pending | Never]) -> Any:  # noqa: ANN401
        branch = self._here()

        async def work() -> Any:  # noqa: ANN401
            if self._run.over:
                raise asyncio.CancelledError
            try:
                issued = issue(branch)
                return await (_Waiting(issued, branch) if isinstance(issued, Pending) else issued)
            except Stopped:
                raise asyncio.CancelledError from None

        return self._on_loop(work)

    def call(
        self,
        tool: object,
        /,
        *,
        key: str | None = None,
        timeout: str | float | None = None,
        retry: Retry | None = None,
        **args: Any,  # noqa: ANN401 - the tool's own
    ) -> Any:  # noqa: ANN401
        """Call a tool and give its result. Raises CallFailed."""
        return self._await(
            lambda branch: self._commands.call(
                branch, tool, args, key=key, timeout=timeout, retry=retry
            )
        )

    def approval(
        self,
        title: str,
        *,
        details: Any = None,  # noqa: ANN401 - any JSON
        role: str | None = None,
        expires: str | float | None = None,
    ) -> Decision:
        """Ask a person; the job parks until someone decides."""
        decision: Decision = self._await(
            lambda branch: self._commands.approval(
                branch, title, details=details, role=role, expires=expires
            )
        )
        return decision

    def wait_signal(self, name: str, *, timeout: str | float | None = None) -> Any:  # noqa: ANN401
        """Wait for a signal of that name. Raises TimedOut."""
        return self._await(lambda branch: self._commands.signal(branch, name, timeout))

    def sleep(self, duration: str | float) -> None:
        """Wait; a long sleep holds no worker."""
        self._await(lambda branch: self._commands.sleep(branch, duration))

    def child(self, agent: object, message: str = "", *, input: Any = None) -> Any:  # noqa: A002, ANN401
        """Run another agent as a child job; gives its output. Raises CallFailed."""
        return self._await(lambda branch: self._commands.child(branch, agent, message, input))

    def gather(self, *branches: Callable[[], Any], limit: int = MAX_AT_ONCE) -> list[Any]:
        """Run plain functions in parallel threads and give their results in order."""
        parent = self._here()
        check(branches)

        async def work() -> list[Any]:
            run = self._run

            def as_branch(function: Callable[[], Any]) -> Callable[[], Awaitable[Any]]:
                return lambda: self._in_thread(run.here(), function)

            code = tuple(as_branch(function) for function in branches)
            return await Gather(run, parent, code, limit).results()

        return self._on_loop(work)

    def checkpoint(self) -> None:
        """Wait until everything recorded so far is on the disk."""
        self._here()
        if self._run.delivery.live:
            self._on_loop(self._run.journal.barrier)

    def now(self) -> datetime:
        """Give the time, UTC; the recorded one when the job is resumed or replayed."""
        branch = self._here()
        ms = self._plainly(lambda: self._commands.value(branch, "now", self._run.now))
        return datetime.fromtimestamp(ms / 1_000, UTC)

    def patched(self, name: str) -> bool:
        """Whether to take the new side of a change: False for jobs that have passed it before."""
        branch = self._here()
        return bool(self._plainly(lambda: self._commands.patched(branch, name)))

    def log(self, text: str, **fields: Any) -> None:  # noqa: ANN401 - any JSON
        """Write a line into the job's trace, once, and not again on replay."""
        branch = self._here()
        self._plainly(lambda: self._commands.log(branch, text, fields))

    def _plainly(self, work: Callable[[], Any]) -> Any:  # noqa: ANN401
        async def on_loop() -> Any:  # noqa: ANN401
            try:
                return work()
            except Stopped:
                raise asyncio.CancelledError from None

        return self._on_loop(on_loop)


class _Waiting:
    """Awaits an outcome in the name of a branch that is not the current task."""

    def __init__(self, pending: Pending, branch: Branch) -> None:
        self._pending = pending
        self._branch = branch

    def __await__(self) -> Any:  # noqa: ANN401
        return self._pending.wait(self._branch)


def _hop(loop: asyncio.AbstractEventLoop, work: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(work)
    except RuntimeError:
        return  # the loop has ended
