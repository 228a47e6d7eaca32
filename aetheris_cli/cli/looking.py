"""Commands that look: jobs, show, trace, graph, timeline, wait, calls, parked and what is there."""

import asyncio
import json
from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from aetheris_cli.cli import base, pictures, trees
from aetheris_cli.cli.base import out
from aetheris_cli.cli.output import Format, cell
from aetheris_cli.domain.errors import NotFound, UsageError
from aetheris_cli.domain.retry import duration_ms
from aetheris_cli.domain.states import CONTRADICTED, JobState, ParkedReason

if TYPE_CHECKING:
    from aetheris_cli.app.session import Session

JobArgument = Annotated[str | None, typer.Argument(metavar="JOB", help="id, beginning, or @last")]
JobOption = Annotated[str | None, typer.Option("--job", help="the same as the argument")]


_WIDE: Final = 140


def unknown(what: str, name: str, known: Iterable[str]) -> UsageError:
    """Say that a word is none of those that there are, and which is the nearest."""
    names = [str(one) for one in known]
    near = get_close_matches(name, names, n=1)
    return UsageError(
        f"there is no {what} {name[:80]!r}",
        why=f"there are {', '.join(names)}",
        fix=f"did you mean {near[0]!r}?" if near else "",
    )


def jobs(
    status: Annotated[str, typer.Option(help="for example queued,running")] = "",
    agent: Annotated[str, typer.Option(help="only this agent's")] = "",
    label: Annotated[str, typer.Option(help="k=v")] = "",
    since: Annotated[str, typer.Option(help="not older than, for example 1h")] = "",
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 50,
) -> None:
    """List jobs, newest first."""
    statuses = tuple(filter(None, status.split(",")))
    wrong = [one for one in statuses if one not in set(JobState)]
    if wrong:
        raise unknown("status", wrong[0], JobState)
    name, eq, value = label.partition("=")
    if label and not eq:
        raise UsageError(f"{label!r} is no label", fix="write --label name=value")

    async def work(session: "Session") -> list[dict[str, Any]]:
        from aetheris_cli.ports.store import Filter  # noqa: PLC0415 - msgspec is not for --help

        start = session.clock.now_ms() - duration_ms(since, "--since") if since else 0
        return await session.control.jobs(
            Filter(
                statuses=statuses, agent=agent, since=start, limit=limit,
                label=(name, value) if label else None,
            ),
            whole=out.is_json,
        )  # fmt: skip

    rows = base.with_session(work)
    for row in rows:
        row["reason"] = row["parked"]["reason"] if row["parked"] else None
    out.rows(
        rows, ["id", "agent", "status", "reason", "created_at", "message"], empty="no jobs yet"
    )


def show(
    job: JobArgument = None,
    job_option: JobOption = None,
    step: Annotated[str, typer.Option(help="only this step")] = "",
    payloads: Annotated[bool, typer.Option("--payloads", help="inputs and outputs whole")] = False,
) -> None:
    """Show a job and its steps."""
    name = base.one_of(job, job_option)

    async def work(session: "Session") -> tuple[dict[str, Any], list[dict[str, Any]]]:
        return await session.control.job(name), await session.control.steps(name)

    found, steps = base.with_session(work)
    if step:
        steps = [one for one in steps if one["id"] == step]
        if not steps:
            raise NotFound(f"job {found['id']} has no step {step!r}", fix="leave --step away")
    if out.is_json:
        out.json(found | {"steps": steps})
        return
    if out.fancy and out.format is Format.TABLE:
        out.print(trees.tree(found, steps, payloads=payloads))
        out.line("")
    out.record(
        found,
        ["id", "agent", "status", "parked", "message", "input", "output", "error", "labels",
         "parent_id", "retry_of", "worker", "epoch", "created_at", "finished_at"],
    )  # fmt: skip
    if out.format is Format.TABLE and steps and not out.fancy:
        out.line("")
        columns = ["id", "kind", "name", "status", "duration_ms", "after"]
        out.rows(steps, [*columns, "input", "output", "error"] if payloads else columns)


def trace(
    job: JobArgument = None,
    job_option: JobOption = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="until the job ends")] = False,
    after: Annotated[int, typer.Option(min=0, max=2**53, help="only events after this seq")] = 0,
    type_: Annotated[str, typer.Option("--type", help="only this type, for example call")] = "",
    step: Annotated[str, typer.Option(help="only this step")] = "",
) -> None:
    """Print what happened, event by event."""
    name = base.one_of(job, job_option)

    async def work(session: "Session") -> None:
        events: list[dict[str, Any]] = []
        async for event in session.control.events(name, after, follow=follow):
            kind = event["type"]
            if type_ and kind != type_ and not kind.startswith(f"{type_}."):
                continue
            if step and event["step"] != step:
                continue
            if out.format is Format.JSON and not follow:
                events.append(event)
            else:
                out.stream(_event_line(event))
        if out.format is Format.JSON and not follow:
            out.json(events)
        elif out.is_json:
            found = await session.control.job(name)
            out.stream(json.dumps({"type": "end", "status": found["status"]}))

    base.with_session(work)


def _event_line(event: dict[str, Any]) -> str:
    if out.is_json:
        return json.dumps(event)
    if out.format is Format.IDS:
        return str(event["seq"])
    data = dict(event["data"])
    shown = " ".join(
        f"{key}={cell(value)[:80]}"
        for key, value in data.items()
        if key not in {"schema", "digest", "after", "labels", "refs", "root", "rule"}
    )
    actor = f" by {cell(event['actor'])}" if event["actor"] else ""
    parts = [event["at"], str(event["seq"]), event["type"], event["step"] or "-", shown + actor]
    if out.format is Format.TSV:
        return "\t".join(parts)
    at, seq, kind, step, rest = parts
    return f"{at[11:23]}  {seq:>4}  {kind:<20} {step:<8} {rest}".rstrip()


def graph(
    job: JobArgument = None,
    job_option: JobOption = None,
    style: Annotated[str, typer.Option(help="layered, rows, mermaid or dot")] = "layered",
) -> None:
    """Draw the job's task graph."""
    name = base.one_of(job, job_option)
    if style not in {"layered", "rows", "mermaid", "dot"}:
        raise UsageError(f"there is no style {style!r}", why="layered, rows, mermaid or dot")
    steps = base.with_session(lambda session: session.control.steps(name))
    steps = [one for one in steps if one["kind"] != "value"]  # a recorded time is no work
    if out.is_json or style == "rows" or out.format is not Format.TABLE:
        out.rows(steps, ["id", "level", "kind", "name", "status", "after"], empty="no steps yet")
        return
    if style != "layered":
        for line in pictures.described(steps, style):
            out.line(line)
        return
    picture = pictures.layered(steps, out.columns)
    if picture is None:
        out.note("the graph is too large for a picture here: these are its rows")
        out.rows(steps, ["id", "level", "kind", "name", "status", "after"])
    for line in picture or ():
        out.line(line)


def timeline(job: JobArgument = None, job_option: JobOption = None) -> None:
    """Show when each step ran."""
    name = base.one_of(job, job_option)

    async def work(session: "Session") -> list[dict[str, Any]]:
        row = await session.store.find(name)
        history = await session.control.history(row)
        began = row.created_at
        end = row.finished_at or session.clock.now_ms()
        span = max(1, end - began)
        lines = []
        for one in history.steps.values():
            start = (one.started_at - began) * 40 // span
            stop = ((one.finished_at or end) - began) * 40 // span
            lines.append(
                {
                    "id": one.id,
                    "name": one.name,
                    "status": str(one.state),
                    "start_ms": one.started_at - began,
                    "duration_ms": one.finished_at - one.started_at if one.finished_at else None,
                    "bar": (" " * start + "█" * max(1, stop - start))[:41],
                }
            )
        return lines

    out.rows(
        base.with_session(work),
        ["id", "name", "status", "start_ms", "duration_ms", "bar"],
        empty="no steps yet",
    )


def wait(
    jobs: Annotated[list[str] | None, typer.Argument(metavar="JOB..")] = None,
    goal: Annotated[str, typer.Option("--for", help="done, parked or step:ID")] = "done",
    timeout: Annotated[str, typer.Option(help="for example 5m")] = "",
) -> None:
    """Wait for jobs; the exit code is that of the first that did not succeed."""
    names = base.ids_of(jobs or [])
    limit = duration_ms(timeout, "--timeout") / 1_000 if timeout else None

    async def work(session: "Session") -> list[dict[str, Any]]:
        waits = (session.control.wait(name, goal=goal, timeout_s=limit) for name in names)
        return await asyncio.gather(*waits)

    found = base.with_session(work)
    out.rows(found, ["id", "status"])
    codes = [base.EXIT.get(one["status"], 0) for one in found]
    if goal != "done":
        codes = [0 if code == base.EXIT["parked"] else code for code in codes]
    raise typer.Exit(next((code for code in codes if code), 0))


def calls(job: JobArgument = None, job_option: JobOption = None) -> None:
    """Print the ledger of a job."""
    name = base.one_of(job, job_option)
    rows = base.with_session(lambda session: session.control.calls(name))
    for row in rows:
        row["tries"] = len(row["attempts"])
    out.rows(rows, ["id", "tool", "effect", "state", "tries", "args", "result"], empty="no calls")


def parked(
    kind: Annotated[str, typer.Option(help="approval, in_doubt, paused …")] = "",
) -> None:
    """List everything that waits for a person."""
    kinds = (*ParkedReason, CONTRADICTED)
    if kind and kind not in kinds:
        raise unknown("kind", kind, kinds)
    rows = base.with_session(lambda session: session.control.parked(kind))
    columns = ["id", "kind", "title"]
    if not 0 < out.columns < _WIDE:
        columns = ["id", "kind", "agent", "tool", "since", "args", "title"]
    out.rows(rows, columns, empty="nothing waits")
    if rows and out.format is Format.TABLE:
        out.note("answer with: " + rows[0]["commands"][0])


def agents() -> None:
    """List the agents that are declared here."""
    found = base.registry().agents().values()
    rows = [
        {"id": one.id, "type": one.type, "version": one.version, "description": one.description}
        for one in found
    ]
    out.rows(rows, ["id", "type", "version", "description"], empty="agents.yaml declares no agent")


def tools() -> None:
    """List the tools that are declared here, with their effect classes."""
    rows = [
        {
            "id": one.name,
            "effect": str(one.effect),
            "timeout_ms": one.timeout_ms,
            "on_in_doubt": str(one.on_in_doubt),
            "schema": one.schema_json,
            "schema_digest": one.schema,
            "description": one.description.partition("\n")[0],
        }
        for one in base.registry().tools().values()
    ]
    out.rows(
        rows, ["id", "effect", "timeout_ms", "on_in_doubt", "description"],
        empty="agents.yaml declares no tool; tools that agents import are known when they run",
    )  # fmt: skip


def workers(
    all_of_them: Annotated[bool, typer.Option("--all", help="the former ones too")] = False,
) -> None:
    """List the workers."""
    rows = base.with_session(lambda session: session.control.workers(all_of_them=all_of_them))
    out.rows(rows, ["id", "status", "alive", "pid", "host", "agents", "beat_at"], empty="no worker")
