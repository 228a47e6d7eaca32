"""The embedded runtime as a library: a store, a worker and the operations, from plain code."""

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Mapping
from concurrent.futures import CancelledError
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from msgspec import UNSET

from aetheris_cli.agents.python import as_agent
from aetheris_cli.app.registry import CodeRegistry
from aetheris_cli.app.session import Session, opened
from aetheris_cli.control.shapes import Shape
from aetheris_cli.domain.errors import StoreBusy, UsageError
from aetheris_cli.domain.retry import duration_ms
from aetheris_cli.engine.worker import LeaseLost, Settings, Worker
from aetheris_cli.ports.store import Filter

Result = TypeVar("Result")
_START_S: Final = 60.0


class Job:
    """A job as it stood when it was last looked at. `refresh` and `wait` look again."""

    def __init__(self, runtime: "Runtime", shape: Shape) -> None:
        self._runtime = runtime
        self.data = shape

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.status}>"

    @property
    def id(self) -> str:
        """The id."""
        return str(self.data["id"])

    @property
    def agent(self) -> str:
        """The id of the agent."""
        return str(self.data["agent"])

    @property
    def labels(self) -> dict[str, str]:
        """The labels."""
        return dict(self.data["labels"])

    @property
    def status(self) -> str:
        """queued, running, parked, succeeded, failed or cancelled."""
        return str(self.data["status"])

    @property
    def output(self) -> Any:  # noqa: ANN401 - any JSON
        """What the agent returned, once the job has succeeded."""
        return self.data["output"]

    @property
    def error(self) -> Shape | None:
        """Why the job failed: kind, message, type."""
        found: Shape | None = self.data["error"]
        return found

    @property
    def parked(self) -> Shape | None:
        """What the job waits for, while it is parked."""
        found: Shape | None = self.data["parked"]
        return found

    def refresh(self) -> Self:
        """Look again."""
        self.data = self._runtime.ask(self._runtime.session.control.job(self.id))
        return self

    def wait(self, timeout: float | None = None, *, goal: str = "done") -> Self:
        """Wait until the job has ended, or waits for a person. Raises WaitTimedOut."""
        control = self._runtime.session.control
        self.data = self._runtime.ask(control.wait(self.id, goal=goal, timeout_s=timeout))
        return self

    def cancel(self, reason: str = "") -> Self:
        """Cancel the job and its children."""
        self.data = self._runtime.ask(self._runtime.session.control.cancel(self.id, reason))
        return self

    def steps(self) -> list[Shape]:
        """Give the steps with their attempts."""
        return self._runtime.ask(self._runtime.session.control.steps(self.id))

    def calls(self) -> list[Shape]:
        """Give the ledger."""
        return self._runtime.ask(self._runtime.session.control.calls(self.id))


class Runtime:
    """A store and a worker in this process, for the length of a `with` block.

    `url`: sqlite:///file.db, made when it is not there. `agents`, `tools`: decorated or bare
    functions; a `registry` made before takes their place. `worker=False` only submits and looks.
    """

    def __init__(
        self,
        url: str,
        agents: Iterable[Any] = (),
        tools: Iterable[Any] = (),
        *,
        worker: bool = True,
        settings: Settings | None = None,
        registry: CodeRegistry | None = None,
    ) -> None:
        self._url = url
        self._registry = registry or CodeRegistry(agents, tools)
        self._settings = (settings or Settings()) if worker else None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._error: BaseException | None = None
        self._worker: Worker | None = None
        self._session: Session | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._main, name="aetheris-runtime", daemon=True)
        self._thread.start()
        if not self._started.wait(_START_S):
            raise StoreBusy(
                f"the store {self._url} could not be opened within {_START_S:g} s",
                why="another program holds it",
                fix="try again; `aetheris doctor` shows who uses it",
            )
        if self._error is not None:
            raise self._error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._loop is not None and self._thread is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end)
            self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    def _end(self) -> None:
        self._stop.set()
        if self._worker is not None:
            self._worker.stop()

    def _main(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread
            self._error = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with opened(self._url, self._registry, create=True) as session:
            self._session = session
            if self._settings is None:
                self._started.set()
                await self._stop.wait()
                return
            while not self._stop.is_set():
                try:
                    await self._work(session, self._settings)
                except LeaseLost:
                    continue  # its jobs go on elsewhere, and new ones begin here, under a new name

    async def _work(self, session: Session, settings: Settings) -> None:
        worker = self._worker = session.worker(settings)
        await worker.begin()
        session.control.keeper = worker
        self._started.set()
        await worker.serve()

    @property
    def session(self) -> Session:
        """The open store."""
        if self._session is None:
            raise UsageError(
                "the runtime is not open", fix="use it in a with block: with Runtime(url) as rt: …"
            )
        return self._session

    def ask(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine on the runtime's loop and wait for it.

        Raises what has stopped the runtime's worker, if that has stopped.
        """
        if self._loop is None or not (self._thread and self._thread.is_alive()):
            work.close()
            raise self._error or UsageError("the runtime is closed")
        if threading.current_thread() is self._thread:
            work.close()
            raise UsageError(
                "the runtime was asked from its own event loop, which would wait for itself",
                why="an async agent runs on that loop",
                fix="use ctx.child to start a job from an agent, or ask from another thread",
            )
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except CancelledError:
            self._thread.join(_START_S)
            if self._error is None:
                raise
            raise self._error from None

    def submit(
        self,
        agent: Any,  # noqa: ANN401 - a function or a name
        message: str = "",
        *,
        input: Any = None,  # noqa: A002, ANN401 - the public name; any JSON
        key: str | None = None,
        labels: Mapping[str, str] | None = None,
        priority: int = 0,
        queue: str | None = None,
        delay: str | float | None = None,
    ) -> Job:
        """Keep a job; it is durable when this returns. The same key gives the same job."""
        name = agent if isinstance(agent, str) else as_agent(agent).id
        found = self._registry.agents().get(name)
        if found is None and not isinstance(agent, str):
            self._registry.add_agent(as_agent(agent))
            found = as_agent(agent)
        if found is None and self._settings is not None:
            self._registry.agent(name)  # nobody here could run it
        control = self.session.control
        new = control.new_job(
            name, message, input=input, key="" if key is None else key, labels=labels,
            priority=priority, queue="" if queue is None else queue,
            delay_ms=0 if delay is None else duration_ms(delay),
            version=found.version if found is not None else "",
        )  # fmt: skip

        async def work() -> Shape:
            row, _ = await control.submit(new)
            return await control.job(row.id)

        return Job(self, self.ask(work()))

    def job(self, job_id: str) -> Job:
        """Give a job by id, unique beginning, or @last."""
        return Job(self, self.ask(self.session.control.job(job_id)))

    def jobs(self, limit: int = 50) -> list[Job]:
        """Give the latest jobs, newest first."""
        found = self.ask(self.session.control.jobs(Filter(limit=limit)))
        return [Job(self, shape) for shape in found]

    def parked(self) -> list[Shape]:
        """Give everything that waits for a person."""
        return self.ask(self.session.control.parked())

    def approve(self, approval: str, *, edit: Any = None, comment: str = "") -> Job:  # noqa: ANN401
        """Approve, by the approval's id or by a job with one open approval."""
        control = self.session.control
        return Job(
            self, self.ask(control.decide(approval, approved=True, edit=edit, comment=comment))
        )

    def reject(self, approval: str, *, reason: str) -> Job:
        """Reject an approval."""
        control = self.session.control
        return Job(self, self.ask(control.decide(approval, approved=False, comment=reason)))

    def signal(self, job: str, name: str, value: Any = None, *, key: str = "") -> Job:  # noqa: ANN401
        """Send a named value to a job."""
        return Job(self, self.ask(self.session.control.signal(job, name, value, key=key)))

    def settle(
        self,
        call: str,
        *,
        happened: Any = UNSET,  # noqa: ANN401 - any JSON
        did_not_happen: bool = False,
        fail: bool = False,
        reason: str,
    ) -> Job:
        """Say what became of a call in doubt; exactly one of the three. Raises UsageError."""
        if (happened is not UNSET) + did_not_happen + fail != 1:
            raise UsageError(
                "give exactly one of happened=…, did_not_happen=True and fail=True",
                why="a call has one outcome",
            )
        verdict = "did_not_happen" if did_not_happen else "fail" if fail else "happened"
        result = None if happened is UNSET else happened
        work = self.session.control.settle(call, verdict=verdict, result=result, reason=reason)
        return Job(self, self.ask(work))

    def cancel(self, job: str, reason: str | None = None) -> Job:
        """Cancel a job and its children."""
        return Job(self, self.ask(self.session.control.cancel(job, reason)))

    def pause(self, job: str) -> Job:
        """Stop a job at the next place where nothing is in flight."""
        return Job(self, self.ask(self.session.control.pause(job)))

    def resume(self, job: str) -> Job:
        """Let a job go on that a person or a rule has stopped."""
        return Job(self, self.ask(self.session.control.resume(job)))

    def retry(self, job: str) -> Job:
        """Submit an ended job's input again, as a new job."""
        return self.job(self.ask(self.session.control.retry(job)).id)

    def wait(self, job: str, timeout: float | None = None) -> Job:
        """Wait until a job has ended, or waits for a person. Raises WaitTimedOut."""
        return self.job(job).wait(timeout)

    def calls(self, job: str) -> list[Shape]:
        """Give the ledger of a job."""
        return self.ask(self.session.control.calls(job))

    def events(self, job: str, after: int = 0) -> list[Shape]:
        """Give what has happened in a job, event by event."""

        async def work() -> list[Shape]:
            return [event async for event in self.session.control.events(job, after)]

        return self.ask(work())

    def workers(self) -> list[Shape]:
        """Give the workers that hold a lease."""
        return self.ask(self.session.control.workers())
