"""Commands by which a person decides: approve, reject, settle, signal, cancel, pause, resume."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aetheris_cli.cli import base
from aetheris_cli.cli.base import out
from aetheris_cli.domain.errors import AetherisError, UsageError

if TYPE_CHECKING:
    from aetheris_cli.app.session import Session

Many = Annotated[
    list[str] | None, typer.Argument(metavar="ID..", help="ids; - reads them from stdin")
]
Reason = Annotated[str, typer.Option(help="why; it is kept in the history")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="say what would be done")]


def _bulk(
    names: list[str],
    word: str,
    one: "Callable[[Session, str], Awaitable[dict[str, Any]]]",
    *,
    dry_run: bool = False,
) -> None:
    """Do one thing to each; go on after an error and leave with the first one's code."""
    if dry_run:
        out.note(f"would {word} {len(names)}: {', '.join(names)}")
        return
    problems: list[AetherisError] = []

    async def work(session: "Session") -> list[dict[str, Any]]:
        done = []
        for name in names:
            try:
                done.append(await one(session, name))
            except AetherisError as error:
                problems.append(error)
        return done

    done = base.with_session(work)
    if not (problems and out.is_json):
        out.rows(done, ["id", "status"])
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise _Several(word, names, problems)


class _Several(AetherisError):
    """Several of many were refused. The exit code is that of the first."""

    code = "several"

    def __init__(self, word: str, names: list[str], problems: list[AetherisError]) -> None:
        super().__init__(
            f"{len(problems)} of {len(names)} could not be done ({word})",
            why="; ".join(problem.message for problem in problems),
            fix=problems[0].fix,
            failed=[problem.as_json() for problem in problems],
        )
        self.exit = problems[0].exit  # type: ignore[misc]


def approve(
    targets: Many = None,
    edit: Annotated[str | None, typer.Option(help="JSON: approve with another value")] = None,
    comment: Annotated[str, typer.Option(help="kept in the history")] = "",
    job: Annotated[str | None, typer.Option("--job", help="a job with one open approval")] = None,
    dry_run: DryRun = False,
) -> None:
    """Approve what waits for approval."""
    value = base.json_of(edit, "--edit")
    _bulk(
        base.ids_of(targets or [], job), "approve",
        lambda session, name: session.control.decide(
            name, approved=True, edit=value, comment=comment
        ),
        dry_run=dry_run,
    )  # fmt: skip


def reject(
    targets: Many = None,
    reason: Reason = "",
    job: Annotated[str | None, typer.Option("--job", help="a job with one open approval")] = None,
    dry_run: DryRun = False,
) -> None:
    """Reject what waits for approval."""
    if not reason.strip():
        raise UsageError(
            "a rejection needs --reason",
            why="it is kept in the history",
            fix="add --reason 'not this month'",
        )
    _bulk(
        base.ids_of(targets or [], job), "reject",
        lambda session, name: session.control.decide(name, approved=False, comment=reason),
        dry_run=dry_run,
    )  # fmt: skip


def settle(
    calls: Many = None,
    happened: Annotated[
        str | None, typer.Option(help="JSON: it happened, with this result")
    ] = None,
    did_not_happen: Annotated[
        bool, typer.Option("--did-not-happen", help="it did not; it may be sent again")
    ] = False,
    fail: Annotated[bool, typer.Option("--fail", help="give up; the call fails")] = False,
    seen: Annotated[
        bool, typer.Option("--seen", help="take note that a late answer says otherwise")
    ] = False,
    reason: Reason = "",
    dry_run: DryRun = False,
) -> None:
    """Say what became of calls whose outcome is unknown."""
    if (happened is not None) + did_not_happen + fail + seen != 1:
        raise UsageError(
            "give exactly one of --happened JSON, --did-not-happen, --fail and --seen",
            why="a call has one outcome",
        )
    if not reason.strip():
        raise UsageError(
            "a settlement needs --reason",
            why="it is kept in the history",
            fix="add --reason 'asked the provider'",
        )
    chosen = {"happened": happened is not None, "did_not_happen": did_not_happen, "fail": fail}
    verdict = next((name for name, given in chosen.items() if given), "seen")
    result = base.json_of(happened, "--happened")
    _bulk(
        base.ids_of(calls or []), f"settle as {verdict}",
        lambda session, name: session.control.settle(
            name, verdict=verdict, result=result, reason=reason
        ),
        dry_run=dry_run,
    )  # fmt: skip


def signal(
    job: Annotated[str, typer.Argument(metavar="JOB")],
    name: Annotated[str, typer.Argument(help="the signal's name")],
    value: Annotated[str | None, typer.Argument(metavar="[JSON]")] = None,
    key: Annotated[str, typer.Option(help="the same key is taken once")] = "",
) -> None:
    """Send a named value to a job."""
    data = base.json_of(value, "the value")
    _bulk([job], "signal", lambda session, one: session.control.signal(one, name, data, key=key))


def cancel(jobs: Many = None, reason: Reason = "", dry_run: DryRun = False) -> None:
    """Cancel jobs and their children."""
    _bulk(
        base.ids_of(jobs or []), "cancel",
        lambda session, name: session.control.cancel(name, reason), dry_run=dry_run,
    )  # fmt: skip


def pause(jobs: Many = None, dry_run: DryRun = False) -> None:
    """Stop jobs where nothing is in flight, until `resume`."""
    _bulk(
        base.ids_of(jobs or []), "pause",
        lambda session, name: session.control.pause(name), dry_run=dry_run,
    )  # fmt: skip


def resume(jobs: Many = None, dry_run: DryRun = False) -> None:
    """Let jobs go on that are paused, diverged, restored or in a crash loop."""
    _bulk(
        base.ids_of(jobs or []), "resume",
        lambda session, name: session.control.resume(name), dry_run=dry_run,
    )  # fmt: skip


def retry(jobs: Many = None, dry_run: DryRun = False) -> None:
    """Submit the input of ended jobs again, as new jobs."""

    async def one(session: "Session", name: str) -> dict[str, Any]:
        row = await session.control.retry(name)
        return await session.control.job(row.id)

    _bulk(base.ids_of(jobs or []), "retry", one, dry_run=dry_run)
