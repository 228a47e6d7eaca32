"""Commands that prove: replay."""

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from aetheris_cli.cli import base
from aetheris_cli.cli.base import out
from aetheris_cli.cli.looking import JobArgument, JobOption
from aetheris_cli.domain.errors import AetherisError
from aetheris_cli.domain.retry import duration_ms

if TYPE_CHECKING:
    from aetheris_cli.app.session import Session

DIVERGED: Final = 12
MAX_VERDICT: Final = 1 << 20


class NoVerdict(AetherisError):
    """The process of a replay ended, or was ended, before it said anything."""

    code = "no_verdict"


def replay(
    job: JobArgument = None,
    job_option: JobOption = None,
    quiet_steps: Annotated[
        bool, typer.Option("--no-steps", help="print the verdict alone")
    ] = False,
    timeout: Annotated[str, typer.Option(help="give up after this time")] = "5m",
) -> None:
    """Run the agent's present code over a job's history. Nothing is sent.

    Leaves with 0 when the code does what the history says, with 12 at the first difference.
    """
    name = base.one_of(job, job_option)
    limit_s = duration_ms(timeout, "--timeout") / 1_000
    row = base.with_session(lambda session: session.store.find(name))
    verdict = _in_a_process_of_its_own(row.id, limit_s)
    if "error" in verdict:
        raise _Told(verdict["error"])
    if out.is_json:
        out.json(verdict)
    else:
        _show(row.id, verdict, steps=not quiet_steps)
    raise typer.Exit(0 if verdict["matched"] else DIVERGED)


class _Told(AetherisError):
    """What went wrong in the process of the replay."""

    def __init__(self, told: dict[str, Any]) -> None:
        super().__init__(told["message"], why=told["why"], fix=told["fix"], job=told["job"])
        self.code = told["code"]  # type: ignore[misc]
        self.exit = told["exit"]  # type: ignore[misc]


def _show(job: str, verdict: dict[str, Any], *, steps: bool) -> None:
    if steps:
        rows = base.with_session(lambda session: session.control.steps(job))
        out.rows(rows, ["id", "kind", "name", "status"])
    for what in verdict["denied"]:
        out.note(f"the agent's code tried to {what}: refused")
    found = verdict["divergence"]
    if found is None:
        out.note(f"matched: {verdict['steps']} steps repeated, nothing sent")
    else:
        out.note(
            f"diverged at step {found['step']}: the history has {found['expected']}, "
            f"the code {found['found']}\n  hint: {found['hint']}"
        )


def _in_a_process_of_its_own(job: str, limit_s: float) -> dict[str, Any]:
    """Let another process replay the job, so that nothing it does passes for a verdict."""
    read, write = os.pipe()
    store = ["--store", base.options.store] if base.options.store else []
    words = [*store, "replay-here", job, "--verdict-to", str(write)]
    try:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "aetheris_cli.cli", *words],
            stdin=subprocess.DEVNULL,
            stdout=2,
            pass_fds=(write,),
        )
    finally:
        os.close(write)
    with os.fdopen(read, "rb") as verdict:
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise NoVerdict(
                f"the replay of job {job} did not end within {limit_s:g} s",
                why="the agent's code runs, or waits for something that is not recorded",
                fix="give more time with --timeout, or look what the code waits for",
                job=job,
            ) from None
        said = verdict.read(MAX_VERDICT)
    try:
        found: dict[str, Any] = json.loads(said)
    except ValueError:
        raise NoVerdict(
            f"the replay of job {job} ended without a verdict",
            why=f"its process left with {process.returncode}; the agent's code may have ended it",
            fix="an agent must not end its process",
            job=job,
        ) from None
    return found


def replay_here(
    job: Annotated[str, typer.Argument(metavar="JOB")],
    verdict_to: Annotated[int, typer.Option("--verdict-to")],
) -> None:
    """Replay a job in this process; the verdict goes to a descriptor as JSON."""
    try:
        verdict = _replayed(job)
    except AetherisError as error:
        verdict = {"error": error.as_json()}
    os.write(verdict_to, json.dumps(verdict).encode())


def _replayed(name: str) -> dict[str, Any]:
    from aetheris_cli.control.denial import deny  # noqa: PLC0415 - only to replay
    from aetheris_cli.engine.replay import replay as play  # noqa: PLC0415
    from aetheris_cli.ports.clock import SystemClock  # noqa: PLC0415

    async def fetch(session: "Session") -> tuple[Any, Any]:
        row = await session.store.find(name)
        return row, await session.store.events(row.no)

    row, events = base.with_session(fetch)
    denied: list[str] = []

    async def work() -> Any:  # noqa: ANN401
        # The loop has its own sockets already; from here on there are no others.
        deny(denied)
        code = base.registry(needed=True)
        return await play(code.agent(row.agent), row, events, code, SystemClock())

    report = base.bridge(work())
    found = report.divergence
    return {
        "job_id": report.job_id,
        "agent": report.agent,
        "matched": report.matched and not denied,
        "steps": report.steps,
        "divergence": None
        if found is None
        else {
            "step": found.step, "expected": found.expected, "found": found.found,
            "hint": found.hint,
        },
        "denied": denied,
    }  # fmt: skip
