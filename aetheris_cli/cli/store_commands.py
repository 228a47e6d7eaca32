"""Commands about the store as a whole: init, migrate, check, stats, backup, restore; doctor."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aetheris_cli.cli import base
from aetheris_cli.cli.base import out
from aetheris_cli.domain.errors import UsageError

if TYPE_CHECKING:
    from aetheris_cli.app.session import Session

store = typer.Typer(help="Look after the store.", no_args_is_help=True, rich_markup_mode=None)


@store.command("init")
def init() -> None:
    """Make the store if there is none."""

    async def work(session: "Session") -> str:
        return session.store.url

    out.line(base.with_session(work, create=True))


@store.command("migrate")
def migrate() -> None:
    """Bring the store to this version's schema."""
    from aetheris_cli.app.upkeep import migrate as bring  # noqa: PLC0415 - only here

    applied = bring(base.found().store)
    out.rows([{"id": name} for name in applied], ["id"], empty="it is up to date")


@store.command("check")
def check() -> None:
    """Hold the whole store against itself: every chain, and every row against its history."""
    from aetheris_cli.app import upkeep  # noqa: PLC0415 - only here

    found = upkeep.check(base.found().store)
    out.rows(found, ["id", "problem", "stored", "expected"], empty="no problem found")
    out.note(f"not covered: {'; '.join(upkeep.NOT_COVERED)}")
    if found:
        raise typer.Exit(6)


@store.command("stats")
def stats() -> None:
    """Count what the store holds."""
    from aetheris_cli.app.upkeep import stats as count  # noqa: PLC0415 - only here

    out.record(
        count(base.found().store),
        ["path", "bytes", "jobs", "events", "payloads", "inbox", "sqlite"],
    )


@store.command("backup")
def backup(
    file: Annotated[str, typer.Argument(help="where the copy goes; it must not exist")],
) -> None:
    """Copy the store through SQLite, while it is in use."""
    from aetheris_cli.app.upkeep import backup as copy  # noqa: PLC0415 - only here

    out.line(str(copy(base.found().store, _named(file))))


@store.command("restore")
def restore(
    file: Annotated[str, typer.Argument(help="a backup")],
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Put a backup in the place of the store; every open job then waits for a person."""
    from aetheris_cli.app.upkeep import find_backup  # noqa: PLC0415 - only here
    from aetheris_cli.app.upkeep import restore as replace  # noqa: PLC0415 - only here

    url = base.found().store
    source = _named(file)
    find_backup(source)  # before a person is asked about it
    base.confirm(f"put {file} in the place of {url}?", yes=yes)
    done = replace(url, source)
    if done.aside is not None:
        out.note(f"the store that was there is now {done.aside}")
    out.record(
        {
            "id": str(done.path), "path": str(done.path), "generation": done.generation,
            "parked": done.parked, "aside": str(done.aside) if done.aside else None,
        },
        ["path", "generation", "parked"],
    )  # fmt: skip
    if done.parked:
        out.note(
            "open jobs wait: `aetheris parked` lists them, `aetheris resume JOB` lets one go on"
        )


def _named(file: str) -> Path:
    if not file:
        raise UsageError("no file was named", why="the name is empty", fix="give the file's path")
    return Path(file)


def doctor() -> None:
    """Check this machine and this project."""
    from aetheris_cli.app.upkeep import machine  # noqa: PLC0415 - only here

    places = base.found()
    rows: list[dict[str, Any]] = [
        {"id": "python", "ok": sys.version_info >= (3, 11), "what": sys.version.split()[0]},
        *machine(places.store),
    ]
    where = str(places.config or "none in this folder or above it")
    rows.append({"id": "agents.yaml", "ok": places.config is not None, "what": where})
    if places.config is not None:
        try:
            names = ", ".join(sorted(base.registry().agents())) or "none"
        except UsageError as error:
            rows.append({"id": "agents", "ok": False, "what": error.message})
        else:
            rows.append({"id": "agents", "ok": True, "what": names})
    out.rows(rows, ["id", "ok", "what"])
    raise typer.Exit(0 if all(row["ok"] for row in rows) else 1)
