"""What an agent's code sees: `ctx`. Each method is a command with a fixed place in the program.

`Context` is for async agents; `SyncContext` gives plain ones, which run in a thread, the same
names, blocking.
"""

import asyncio
import hashlib
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError as FutureCancelled
from concurrent.futures import Future
from datetime import UTC, datetime
from random import Random
from typing import Any, Final, TypeVar
from uuid import UUID

from msgspec import Raw

from aetheris_cli.domain import codec
from aetheris_cli.domain import events as ev
from aetheris_cli.domain.changes import recorded
from aetheris_cli.domain.errors import UsageError
from aetheris_cli.domain.retry import Retry, duration_ms
from aetheris_cli.engine import waits
from aetheris_cli.engine.branches import Branch, Pending
from aetheris_cli.engine.calls import Call
from aetheris_cli.engine.outcome import Decision, outcome
from aetheris_cli.engine.run import Run, Stopped

Result = TypeVar("Result")

MAX_AT_ONCE: Final = 100
"""How many branches of one gather run at the same time, unless the agent says otherwise."""
MAX_BRANCHES: Final = 10_000
_LOG_CHARS: Final = 4_000


class Commands:
    """The commands, each in the name of a given branch. Both contexts stand on them."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def call(
        self,
        branch: Branch,
        tool: object,
        args: dict[str, Any],
        *,
        key: str | None,
        timeout: str | float | None,
        retry: Retry | None,
    ) -> Pending:
        """Call a tool."""
        run = self.run
        made = run.host.registry.tool(tool)
        data = codec.canonical(args, f"the arguments of tool {made.name}")
        # Arguments that do not fit are the agent's error, not an attempt.
        arguments = made.read(data)
        step = branch.next()
        pending = run.pendings[step] = Pending(run, step, branch.frontier)
        call = Call(
            run, step, made, data, arguments, key=key or "",
            timeout_ms=made.timeout_ms if timeout is None else duration_ms(timeout),
            retry=made.retry if retry is None else retry,
            after=branch.frontier, cause=run.cause(branch),
        )  # fmt: skip
        self._issue(step, "call", made.name, call.digest, call.start)
        return pending

    def _issue(
        self, step: str, kind: str, name: str, digest: str, start: Callable[[], None]
    ) -> None:
        """Hold a command against the history, and start it when it has no outcome there."""
        run = self.run
        found = run.take(step, kind, name, digest)
        if found is not None and found.done:
            return  # its outcome is delivered in its turn
        run.hold(start)

    def wait_for(
        self,
        branch: Branch,
        kind: str,
        name: str,
        digest: str,
        begin: Callable[[waits.Opening], None],
    ) -> Pending:
        """Begin one of the waits of `engine.waits`."""
        run = self.run
        step = branch.next()
        pending = run.pendings[step] = Pending(run, step, branch.frontier)
        opening = waits.Opening(run, step, branch.frontier, run.cause(branch), pending)
        self._issue(step, kind, name, digest, lambda: begin(opening))
        return pending

    def approval(
        self,
        branch: Branch,
        title: str,
        *,
        details: Any,  # noqa: ANN401 - any JSON
        role: str | None,
        expires: str | float | None,
    ) -> Pending:
        """Ask a person."""
        data = codec.canonical(details, "the details of an approval")
        shown = codec.canonical(str(title), "the title of an approval")
        digest = codec.digest(shown + b"\0" + data)
        ms = 0 if expires is None else duration_ms(expires, "expires")
        return self.wait_for(
            branch, "approval", str(title), digest,
            lambda opening: waits.approval(opening, str(title), Raw(data), digest, role or "", ms),
        )  # fmt: skip

    def signal(self, branch: Branch, name: str, timeout: str | float | None) -> Pending:
        """Wait for a signal."""
        ms = 0 if timeout is None else max(1, duration_ms(timeout, "timeout"))
        return self.wait_for(
            branch, "signal", name, "", lambda opening: waits.signal(opening, name, ms)
        )

    def sleep(self, branch: Branch, duration: str | float) -> Pending:
        """Wait for a time."""
        ms = duration_ms(duration, "the time to sleep")
        return self.wait_for(
            branch, "timer", f"{ms} ms", "", lambda opening: waits.timer(opening, ms)
        )

    def child(self, branch: Branch, agent: object, message: str, given: Any) -> Pending:  # noqa: ANN401
        """Start a child job and wait for its output."""
        name = agent if isinstance(agent, str) else getattr(agent, "__aetheris_agent__", agent)
        name = getattr(name, "id", name)
        if not isinstance(name, str):
            raise UsageError(f"{agent!r} is not an agent", why="give its id or its function")
        data = codec.canonical(given, "the input of a child")
        digest = codec.digest(codec.canonical(message) + b"\0" + data)
        return self.wait_for(
            branch, "child", name, digest,
            lambda opening: waits.child(opening, name, message, Raw(data), digest),
        )  # fmt: skip

    def value(self, branch: Branch, kind: str, make: Callable[[], Any]) -> Any:  # noqa: ANN401
        """Give a value that is recorded the first time and read from the history after."""
        run = self.run
        step = branch.next()
        found = run.take(step, "value", kind, "")
        if found is not None:
            return outcome(run.job, found)[0]
        made = make()
        event = ev.ValueRecorded(
            at=run.now(), step=step, kind=kind, value=Raw(codec.canonical(made))
        )
        run.hold(lambda: run.queue(recorded(event)))
        return made

    def patched(self, branch: Branch, name: str) -> bool:
        """Whether the branch runs the new side of a change of its code."""
        run = self.run
        step = f"{branch.path}patch:{name}"
        if step in run.history.steps:
            return True
        if not run.live:
            return False
        event = ev.ValueRecorded(
            at=run.now(), step=step, kind="patched", name=name, value=Raw(b"true")
        )
        run.queue(recorded(event))
        return True

    def log(self, branch: Branch, text: str, fields: dict[str, Any]) -> None:
        """Write a line into the trace, once."""
        run = self.run
        branch.logs += 1
        step = f"{branch.path}log{branch.logs}"
        if step in run.history.logs:
            return
        data = Raw(codec.canonical(fields, "the fields of a log line")) if fields else ev.NONE
        clean = str(text)[:_LOG_CHARS].encode("utf-8", "replace").decode()
        event = ev.LogWritten(at=run.now(), step=step, text=clean, fields=data)
        run.hold(lambda: run.queue(recorded(event)))

    def seeded(self, branch: Branch, what: str) -> Random:
        """Give a source of chance that is the same at every run of this place."""
        seed = hashlib.sha256(f"{self.run.job}:{branch.next()}:{what}".encode()).digest()
        return Random(int.from_bytes(seed))  # noqa: S311 - it must be repeatable


class _Facts:
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

    def _here(self) -> Branch:
        raise NotImplementedError

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


class Context(_Facts):
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
    ) -> Pending:
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

    def wait_signal(self, name: str, *, timeout: str | float | None = None) -> Pending:
        """Wait for a signal of that name. Raises TimedOut (when awaited)."""
        return self._commands.signal(self._here(), name, timeout)

    def sleep(self, duration: str | float) -> Pending:
        """Wait; a long sleep holds no worker."""
        return self._commands.sleep(self._here(), duration)

    def child(self, agent: object, message: str = "", *, input: Any = None) -> Pending:  # noqa: A002, ANN401
        """Run another agent as a child job; gives its output. Raises CallFailed."""
        return self._commands.child(self._here(), agent, message, input)

    async def gather(
        self, *branches: Callable[[], Awaitable[Any]], limit: int = MAX_AT_ONCE
    ) -> list[Any]:
        """Run branches in parallel, at most `limit` at once, and give their results in order.

        All branches run to their end; then the first exception, in the order of the arguments,
        is raised.
        """
        parent = self._here()
        step = parent.next()
        if len(branches) > MAX_BRANCHES or limit < 1:
            raise UsageError(
                f"gather was given {len(branches)} branches and the limit {limit}",
                why=f"at most {MAX_BRANCHES} branches, at least one at a time",
            )
        return await _Gather(self._run, parent, step, branches, limit).results()

    async def checkpoint(self) -> None:
        """Wait until everything recorded so far is on the disk."""
        self._here()
        if self._run.live:
            await self._run.barrier()


class _Gather:
    """One gather: its branches, how many run, and their results."""

    def __init__(
        self,
        run: Run,
        parent: Branch,
        step: str,
        code: tuple[Callable[[], Awaitable[Any]], ...],
        limit: int,
    ) -> None:
        self._run = run
        self._parent = parent
        self._step = step
        self._code = code
        self._limit = limit
        self._next = 0
        self._left = len(code)
        self._results: list[Any] = [None] * len(code)
        self._errors: list[BaseException | None] = [None] * len(code)
        self._frontiers: list[tuple[str, ...]] = [parent.frontier] * len(code)
        self._done: asyncio.Future[None] = run.loop.create_future()

    async def results(self) -> list[Any]:
        """Run all branches and give their results."""
        if not self._code:
            return []
        for _ in range(min(self._limit, len(self._code))):
            self._start()
        self._run.blocked()
        try:
            await self._done
        except BaseException:
            if not self._done.done() or self._done.cancelled():
                self._run.unblocked()
            raise
        self._parent.frontier = tuple(
            dict.fromkeys(step for frontier in self._frontiers for step in frontier)
        )
        for error in self._errors:
            if error is not None:
                raise error
        return self._results

    def _start(self) -> None:
        at = self._next
        self._next += 1
        branch = Branch(f"{self._step}.{at}.", self._parent.frontier)
        self._run.spawn(
            branch, _as_coroutine(self._code[at]), lambda task: self._ended(at, branch, task)
        )

    def _ended(self, at: int, branch: Branch, task: asyncio.Task[Any]) -> None:
        self._frontiers[at] = branch.frontier
        if task.cancelled():
            self._errors[at] = asyncio.CancelledError()
        elif (error := task.exception()) is not None:
            self._errors[at] = error
        else:
            self._results[at] = task.result()
        self._left -= 1
        if self._run.over:
            if not self._done.done():
                self._done.cancel()
        elif self._next < len(self._code):
            self._start()
        elif self._left == 0 and not self._done.done():
            self._run.unblocked()
            self._done.set_result(None)


async def _as_coroutine(code: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401
    return await code()


class SyncContext(_Facts):
    """What a plain agent works with: the same names, blocking. It runs in a thread."""

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
                done.set_exception(
                    error if isinstance(error, Exception) else RuntimeError(repr(error))
                )

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
        if self._run.over:
            raise Stopped
        future: Future[Result] = asyncio.run_coroutine_threadsafe(work(), self._run.loop)
        try:
            return future.result()
        except (FutureCancelled, RuntimeError) as error:
            if self._run.over:
                raise Stopped from error
            raise

    def _await(self, issue: Callable[[Branch], Pending]) -> Any:  # noqa: ANN401
        branch = self._here()

        async def work() -> Any:  # noqa: ANN401
            if self._run.over:
                raise asyncio.CancelledError
            try:
                return await _Waiting(issue(branch), branch)
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

        async def work() -> list[Any]:
            step = parent.next()
            run = self._run

            def as_branch(function: Callable[[], Any]) -> Callable[[], Awaitable[Any]]:
                return lambda: self._in_thread(run.here(), function)

            code = tuple(as_branch(function) for function in branches)
            return await _Gather(run, parent, step, code, limit).results()

        return self._on_loop(work)

    def checkpoint(self) -> None:
        """Wait until everything recorded so far is on the disk."""
        self._here()
        if self._run.live:
            self._on_loop(self._run.barrier)

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
