"""Commands that start work: run, submit, worker."""

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from aetheris_cli.cli import base
from aetheris_cli.cli.base import out
from aetheris_cli.cli.output import Format, cell
from aetheris_cli.cli.stopping import signals
from aetheris_cli.cli.telling import Teller
from aetheris_cli.domain.errors import UsageError
from aetheris_cli.domain.retry import duration_ms

if TYPE_CHECKING:
    from aetheris_cli.app.registry import CodeRegistry
    from aetheris_cli.app.session import Session
    from aetheris_cli.engine.worker import Worker

_FRAME_S: Final = 0.05
_SHORTEST_LEASE_MS: Final = 1_000
_NAMES: Final = 8

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
            await Teller(session, row.id).to_the_end()
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
            code.agent(row.agent)  # else it would wait for ever
        else:
            new = control.new_job(
                agent or "", text, input=value, key=key, labels=_labels(label), version=version
            )
            # Queued first and claimed by root: whoever is told to run it here finds it either way.
            row, created = await control.submit(new)
            if not created:
                out.note(f"job {row.id} has this key already")
        worker = session.worker(Settings(root=row.root, agents=None))
        worker.on_trouble = _trouble
        out.note(f"job {row.id}")
        teller = Teller(session, row.id, after=row.seq if job is not None else 0)
        await worker.begin()
        with signals(worker) as stopped:
            serving = asyncio.create_task(worker.serve())
            waiting = asyncio.create_task(control.wait(row.id))
            try:
                await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                worker.stop()
                await serving
        if stopped() and not (waiting.done() and not waiting.exception()):
            waiting.cancel()
            await teller.finish()
            found = await control.job(row.id)
            if found["status"] in base.EXIT and found["status"] != "parked":
                _tell_outcome(found)  # its last call in flight was its last
            else:
                out.note(f"stopped; the job is durable: aetheris run --job {row.id}")
            raise typer.Exit(128 + stopped())
        found = await waiting
        await teller.finish()
        return found

    _outcome(base.with_session(work, create=job is None, code=code))


def _trouble(words: str) -> None:
    out.note(f"nothing can be written for now: {words}" if words else "writing goes on")


def _outcome(job: dict[str, Any]) -> None:
    """Print a job's answer and leave with its exit code."""
    _tell_outcome(job)
    raise typer.Exit(base.EXIT.get(job["status"], 1))


def _tell_outcome(job: dict[str, Any]) -> None:
    status = job["status"]
    if out.is_json:
        out.json(job)
    elif out.format is Format.IDS:
        out.line(job["id"])
    elif status == "succeeded":
        answer = job["output"]
        out.text(answer if isinstance(answer, str) else cell(answer))
    elif status == "parked":
        out.note(f"parked: {job['parked']['reason']}\n  fix: {_way_on(job)}")
    else:
        error = job["error"] or {}
        words = [status, error.get("type"), error.get("message")]
        out.note(f"{': '.join(filter(None, words))}\n  fix: aetheris show {job['id']}")


def _way_on(job: dict[str, Any]) -> str:
    """Name the command that lets a parked job go on."""
    parked = job["parked"]
    if parked["approval_id"]:
        return f"aetheris approve {parked['approval_id']}"
    if parked["call_id"]:
        verdicts = "--happened JSON | --did-not-happen | --fail"
        return f"aetheris settle {parked['call_id']} --reason TEXT  and one of {verdicts}"
    return f"aetheris resume {job['id']}"


def worker(
    concurrency: Annotated[int, typer.Option(min=1, max=100_000, help="jobs at a time")] = 1_000,
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="end when nothing can be claimed")
    ] = False,
    lease: Annotated[
        str, typer.Option(help="how long a lease lasts unrenewed, at least 1s")
    ] = "10s",
    grace: Annotated[str, typer.Option(help="how long calls in flight may take at a stop")] = "10s",
) -> None:
    """Run jobs until stopped."""
    code: CodeRegistry = base.registry(needed=True)
    lease_ms, grace_ms = duration_ms(lease, "--lease"), duration_ms(grace, "--grace")
    if lease_ms < _SHORTEST_LEASE_MS:
        raise UsageError(
            f"--lease {lease} is too short", why="a busy machine would not renew it in time"
        )

    async def work(session: "Session") -> int:
        from aetheris_cli.app.session import settle_in  # noqa: PLC0415 - only to run
        from aetheris_cli.engine.worker import LeaseLost, Settings  # noqa: PLC0415 - only to run

        settings = Settings(concurrency=concurrency, lease_ms=lease_ms, grace_s=grace_ms / 1_000)
        settle_in()
        while True:
            try:
                return await _serve(session, session.worker(settings), until_idle=until_idle)
            except LeaseLost as lost:
                # What it had in flight goes on in this process, and is kept as evidence.
                out.note(f"{lost.message}: {lost.why}; starting anew")

    number = base.with_session(work, create=True, code=code)
    if number:
        raise typer.Exit(128 + number)


async def _serve(session: "Session", worker: "Worker", *, until_idle: bool) -> int:
    """Run a worker until it is stopped or idle; give the signal that stopped it, or 0."""
    await worker.begin()
    worker.on_trouble = _trouble
    names = sorted(worker.registry.agents())
    shown = ", ".join(names[:_NAMES]) + (" …" if len(names) > _NAMES else "")
    out.note(f"worker {worker.worker_id} runs {shown or 'nothing: no agent is declared'}")
    with signals(worker) as stopped:
        serving = asyncio.create_task(worker.serve())
        watch = asyncio.create_task(_idle(session, worker)) if until_idle else None
        if watch is not None:
            await asyncio.wait({serving, watch}, return_when=asyncio.FIRST_COMPLETED)
            watch.cancel()
            worker.stop()
        await serving
    return stopped()


async def _idle(session: "Session", worker: "Worker") -> None:
    """Wait until the worker runs nothing and nothing is due that it could run."""
    agents = frozenset(worker.registry.agents())
    while True:
        due = await session.store.due(agents)
        if worker.idle and not 0 < due <= session.clock.now_ms():
            return
        await asyncio.sleep(_FRAME_S)


def demo() -> None:
    """Kill a worker in the middle of a payment, twice, and count the charges."""
    # The demo plays with the command line from above it, so it takes this process's place.
    words = [sys.executable, "-m", "aetheris_cli.testing.demo"]
    os.execv(sys.executable, words)  # noqa: S606 - it is our own program
