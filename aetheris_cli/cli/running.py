"""Commands that start work: run, submit, worker."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from aetheris_cli.cli import base, trees
from aetheris_cli.cli.base import out
from aetheris_cli.cli.output import Format, cell
from aetheris_cli.domain.errors import UsageError
from aetheris_cli.domain.retry import duration_ms

if TYPE_CHECKING:
    from aetheris_cli.app.registry import CodeRegistry
    from aetheris_cli.app.session import Session
    from aetheris_cli.engine.worker import Worker

_FRAME_S: Final = 0.1
_CATCH_UP_S: Final = 0.3

Message = Annotated[str, typer.Argument(help="the message; - reads stdin, @FILE a file")]
Key = Annotated[str, typer.Option(help="the same key gives the same job")]
Input = Annotated[str | None, typer.Option("--input", help="JSON for ctx.input")]
Labels = Annotated[list[str] | None, typer.Option("--label", help="k=v, several times")]


def _labels(given: list[str] | None) -> dict[str, str]:
    found = {}
    for text in given or ():
        name, eq, value = text.partition("=")
        if not name or not eq:
            raise UsageError(f"{text!r} is no label", fix="write --label name=value")
        found[name] = value
    return found


def submit(
    agent: Annotated[str, typer.Argument(help="the agent's id")],
    message: Message = "",
    key: Key = "",
    input_: Input = None,
    label: Labels = None,
    priority: Annotated[int, typer.Option(help="the higher, the sooner")] = 0,
    queue: Annotated[str, typer.Option(help="the queue's name")] = "",
    delay: Annotated[str, typer.Option(help="start not before, for example 10m")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="wait for the outcome")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="print events until it ends")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="check everything, keep nothing")
    ] = False,
) -> None:
    """Keep a job for a worker to run. Prints its id; it survives whatever happens next."""
    code = base.registry()
    # Without an agents.yaml here the worker's own counts.
    version = code.agent(agent).version if code.agents() else ""
    text, value = base.message_of(message), base.json_of(input_, "--input")

    async def work(session: "Session") -> dict[str, Any] | None:
        control = session.control
        new = control.new_job(
            agent, text, input=value, key=key, labels=_labels(label), priority=priority,
            queue=queue, delay_ms=duration_ms(delay) if delay else 0, version=version,
        )  # fmt: skip
        if dry_run:
            out.note(f"would submit {agent}: nothing was kept")
            return None
        row, created = await control.submit(new)
        if not created:
            out.note(f"job {row.id} has this key already")
        await _warn_if_nobody_works(session)
        if follow:
            await _narrate(session, row.id)
        if wait or follow:
            return await control.wait(row.id)
        return await control.job(row.id)

    job = base.with_session(work, create=True)
    if job is None:
        return
    if wait or follow:
        _outcome(job)
    elif out.is_json:
        out.json(job)
    else:
        out.line(job["id"])


async def _warn_if_nobody_works(session: "Session") -> None:
    if all(session.is_gone(one) for one in await session.store.workers()):
        out.note("no worker is alive: start one with `aetheris worker`")


def run(
    agent: Annotated[str | None, typer.Argument(help="the agent's id")] = None,
    message: Message = "",
    key: Key = "",
    input_: Input = None,
    label: Labels = None,
    job: Annotated[str | None, typer.Option("--job", help="continue this job here")] = None,
) -> None:
    """Run a job here to its end: trace on stderr, answer on stdout, outcome as exit code."""
    if (agent is None) == (job is None):
        raise UsageError("give an agent and a message, or --job JOB to continue one")
    code = base.registry(needed=True)
    text, value = base.message_of(message), base.json_of(input_, "--input")
    version = code.agent(agent).version if agent is not None else ""

    async def work(session: "Session") -> dict[str, Any]:
        from aetheris_cli.engine.worker import Settings  # noqa: PLC0415 - only to run

        control = session.control
        if job is not None:
            row = await session.store.find(job)
        else:
            new = control.new_job(
                agent or "", text, input=value, key=key, labels=_labels(label), version=version
            )
            # Queued first and claimed by root: whoever is told to run it here finds it either way.
            row, created = await control.submit(new)
            if not created:
                out.note(f"job {row.id} has this key already")
        worker = session.worker(Settings(root=row.root, agents=None))
        out.note(f"job {row.id}")
        teller = asyncio.create_task(_narrate(session, row.id))
        await worker.begin()
        with _signals(worker) as stopped:
            serving = asyncio.create_task(worker.serve())
            waiting = asyncio.create_task(control.wait(row.id))
            try:
                await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                worker.stop()
                await serving
        if stopped():
            waiting.cancel()
            await _finish(teller, at_once=True)
            out.note(f"stopped; the job is durable: aetheris run --job {row.id}")
            raise typer.Exit(128 + stopped())
        found = await waiting
        await _finish(teller)
        return found

    _outcome(base.with_session(work, create=job is None, code=code))


async def _narrate(session: "Session", job: str) -> None:
    """Tell on stderr how a job goes: a tree that grows on a terminal, else event by event."""
    if out.is_json or out.format is Format.IDS:
        return
    if out.lively:
        with trees.growing() as growing:
            async for shape, steps in session.control.watch(job):
                growing.update(shape, steps)
                await asyncio.sleep(_FRAME_S)
    else:
        async for event in session.control.events(job, follow=True):
            _tell(event)


async def _finish(teller: "asyncio.Task[None]", *, at_once: bool = False) -> None:
    """Let what is told catch up with the job, which has ended or waits."""
    if not at_once:
        await asyncio.wait({teller}, timeout=_CATCH_UP_S)
    teller.cancel()
    await asyncio.wait({teller})


def _tell(event: dict[str, Any]) -> None:
    """Narrate an event."""
    data = event["data"]
    what = data.get("tool") or data.get("title") or data.get("name") or data.get("reason") or ""
    if isinstance(data.get("error"), dict):
        what = f"{what} {data['error'].get('message', '')}".strip()
    if event["type"] == "log.written":
        what = data["text"]
    step = event["step"] or ""
    out.note(f"{event['at'][11:23]} {event['seq']:>4} {event['type']:<20} {step:<8} {cell(what)}")


def _outcome(job: dict[str, Any]) -> None:
    """Print a job's answer and leave with its exit code."""
    status = job["status"]
    if out.is_json:
        out.json(job)
    elif status == "succeeded":
        answer = job["output"]
        out.text(answer if isinstance(answer, str) else cell(answer))
    elif status == "parked":
        parked = job["parked"]
        target = parked["approval_id"] or parked["call_id"] or job["id"]
        out.note(f"parked ({parked['reason']}): {target}\n  fix: aetheris parked")
    else:
        error = job["error"] or {}
        out.note(f"{status}: {error.get('message', '')}")
    raise typer.Exit(base.EXIT.get(status, 1))


class _signals:  # noqa: N801 - used as a function
    """Let SIGINT and SIGTERM stop a worker gracefully; a second one ends the process at once."""

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker
        self._got = 0

    def __enter__(self) -> Callable[[], int]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signalled, number)
        return lambda: self._got

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    def _signalled(self, number: int) -> None:
        if self._got:
            # What is on the disk stays there; the lock falls free and others take over.
            sys.stderr.flush()
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._got = int(number)
        out.note("stopping: waiting for calls in flight; once more to leave at once")
        self._worker.stop()


def worker(
    concurrency: Annotated[int, typer.Option(min=1, max=100_000, help="jobs at a time")] = 1_000,
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="end when nothing can be claimed")
    ] = False,
    lease: Annotated[str, typer.Option(help="how long a lease lasts unrenewed")] = "10s",
    grace: Annotated[str, typer.Option(help="how long calls in flight may take at a stop")] = "10s",
) -> None:
    """Run jobs until stopped."""
    code: CodeRegistry = base.registry(needed=True)

    async def work(session: "Session") -> int:
        from aetheris_cli.app.session import settle_in  # noqa: PLC0415 - only to run
        from aetheris_cli.engine.worker import Settings  # noqa: PLC0415 - only to run

        made = session.worker(
            Settings(
                concurrency=concurrency,
                lease_ms=duration_ms(lease, "--lease"),
                grace_s=duration_ms(grace, "--grace") / 1_000,
            )
        )
        await made.begin()
        settle_in()
        out.note(f"worker {made.worker_id} runs {', '.join(sorted(code.agents()))}")
        with _signals(made) as stopped:
            serving = asyncio.create_task(made.serve())
            if until_idle:
                watch = asyncio.create_task(_until_idle(session, made))
                await asyncio.wait({serving, watch}, return_when=asyncio.FIRST_COMPLETED)
                made.stop()
            await serving
        return stopped()

    number = base.with_session(work, create=True, code=code)
    if number:
        raise typer.Exit(128 + number)


async def _until_idle(session: "Session", worker: "Worker") -> None:
    while True:
        counts = await session.store.counts()
        if worker.idle and not counts.get("queued") and not counts.get("running"):
            return
        await asyncio.sleep(0.05)


def demo() -> None:
    """Kill a worker in the middle of a payment, twice, and count the charges."""
    # The demo plays with the command line from above it, so it is started, not imported.
    done = subprocess.run([sys.executable, "-m", "aetheris_cli.testing.demo"], check=False)
    raise typer.Exit(done.returncode)
