"""Commands that prove: replay."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from aetheris_cli.cli import base
from aetheris_cli.cli.base import out
from aetheris_cli.cli.looking import JobArgument, JobOption

if TYPE_CHECKING:
    from aetheris_cli.app.session import Session

DIVERGED = 12


def replay(
    job: JobArgument = None,
    job_option: JobOption = None,
    quiet_steps: Annotated[
        bool, typer.Option("--no-steps", help="print the verdict alone")
    ] = False,
) -> None:
    """Run the agent's present code over a job's history. Nothing is sent.

    Leaves with 0 when the code does what the history says, with 12 at the first difference.
    """
    from aetheris_cli.control.denial import deny  # noqa: PLC0415 - only to replay
    from aetheris_cli.control.shapes import steps as shaped  # noqa: PLC0415
    from aetheris_cli.domain.history import fold  # noqa: PLC0415
    from aetheris_cli.engine.replay import replay as play  # noqa: PLC0415
    from aetheris_cli.ports.clock import SystemClock  # noqa: PLC0415

    name = base.one_of(job, job_option)

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
    verdict = {
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
    if out.is_json:
        out.json(verdict)
    else:
        if not quiet_steps:
            out.rows(shaped(fold(events), row.id), ["id", "kind", "name", "status"])
        for what in denied:
            out.note(f"the agent's code tried to {what}: refused")
        if found is None:
            out.note(f"matched: {report.steps} steps repeated, nothing sent")
        else:
            out.note(f"diverged at {found}\n  hint: {found.hint}")
    raise typer.Exit(0 if verdict["matched"] else DIVERGED)
