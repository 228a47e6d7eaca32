"""Commands about the project's configuration: init, config path, config schema."""

import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from aetheris_cli.cli import base
from aetheris_cli.cli.base import out
from aetheris_cli.config.places import FILE, FOLDER
from aetheris_cli.domain.errors import Conflict, NotFound, UsageError

config = typer.Typer(
    help="Show what is configured, and where.", no_args_is_help=True, rich_markup_mode=None
)

_MODULE: Final = "agent.py"
_AGENT: Final = '''\
"""A first agent: it greets, and remembers what it has done."""

from aetheris import agent, tool


@tool(effect="pure")
async def greeting(name: str) -> str:
    return f"Hello, {name}!"


@agent("hello")
async def hello(ctx, message):
    return await ctx.call(greeting, name=message or "world")
'''
_YAML: Final = f"""\
# yaml-language-server: $schema={FOLDER}/agents.schema.json
agents:
  - {{id: hello, type: python, entrypoint: "agent:hello"}}
"""


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="where the project begins")
    ] = Path(),
) -> None:
    """Write an agents.yaml that runs, its agent, and the schema that editors check it with."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", why="a project is one", fix="name another")
    there = [name for name in (FILE, _MODULE) if (folder / name).exists()]
    if there:
        raise Conflict(
            f"{folder / there[0]} is there already",
            why="nothing of yours is overwritten",
            fix="name another folder: aetheris init DIR",
        )
    (folder / FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / FOLDER / "agents.schema.json").write_text(_schema_text(), "utf-8")
    (folder / _MODULE).write_text(_AGENT, "utf-8")
    (folder / FILE).write_text(_YAML, "utf-8")
    out.record({"id": str(folder / FILE), "path": str(folder / FILE)}, ["path"])
    where = "" if folder == Path() else f"cd {folder} && "
    out.note(f"try it: {where}aetheris run hello you")


@config.command("path")
def path() -> None:
    """Print where agents.yaml and the store are."""
    found = base.found()
    out.record(
        {
            "id": str(found.config or ""),
            "config": str(found.config) if found.config else None,
            "store": found.store,
        },
        ["config", "store"],
    )


@config.command("schema")
def schema() -> None:
    """Print the JSON Schema of agents.yaml, for editors."""
    out.line(_schema_text())


@config.command("show")
def show() -> None:
    """Print what agents.yaml declares, as it was read."""
    import msgspec  # noqa: PLC0415 - only here

    from aetheris_cli.config.agents import read  # noqa: PLC0415 - only here

    where = base.found().config
    if where is None:
        raise NotFound("there is no agents.yaml here", why="none above either", fix="aetheris init")
    declared = read(where)
    data: dict[str, Any] = msgspec.to_builtins(declared.config)
    if out.is_json:
        out.json(data)
        return
    rows = [
        {"id": spec.id, "kind": kind, "type": "python", "entrypoint": spec.entrypoint, "at": at}
        for kind, found in (("agent", declared.agents()), ("tool", declared.tools()))
        for spec, at in found
    ]
    out.rows(rows, ["id", "kind", "type", "entrypoint", "at"], empty="nothing is declared")


def _schema_text() -> str:
    from aetheris_cli.config.specs import schema as made  # noqa: PLC0415 - msgspec, only here

    return json.dumps(made(), indent=2)
