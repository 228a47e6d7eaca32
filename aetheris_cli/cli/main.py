"""The command line: parse, call one operation, render. Every error has a documented exit code."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Final

import typer

import aetheris_cli
from aetheris_cli.cli import base, deciding, looking, proving, running, store_commands
from aetheris_cli.cli.base import out
from aetheris_cli.cli.output import Format
from aetheris_cli.domain.errors import AetherisError, Bug, UsageError

app = typer.Typer(
    name="aetheris",
    help="Run agents so that a crash loses nothing and no unsafe call is silently repeated.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def program(
    store: Annotated[str, typer.Option(help="the store, for example sqlite:///jobs.db")] = "",
    output: Annotated[
        str | None, typer.Option("-o", "--output", help="table, json, jsonl, tsv or ids")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="short for -o json")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="ids only")] = False,
    color: Annotated[str, typer.Option(help="auto, always or never")] = "auto",
    no_input: Annotated[bool, typer.Option("--no-input", help="never ask")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="show tracebacks")] = False,
) -> None:
    """Take the options of the whole program; they may stand before or after the command."""
    base.options.store, base.options.debug, base.options.no_input = store, debug, no_input
    text = output or os.environ.get("AETHERIS_OUTPUT") or "table"
    if as_json:
        text = "json"
    elif quiet:
        text = "ids"
    if text not in set(Format):
        raise UsageError(f"there is no format {text!r}", why=f"there are {', '.join(Format)}")
    if color not in {"auto", "always", "never"}:
        raise UsageError(f"--color is {color!r}", why="it is auto, always or never")
    out.format, out.color = Format(text), color


def version() -> None:
    """Print the version."""
    out.record({"id": "aetheris", "version": aetheris_cli.__version__}, ["version"])


for _command in (
    running.run, running.submit, running.worker, running.demo,
    looking.jobs, looking.show, looking.trace, looking.graph, looking.timeline, looking.wait,
    looking.calls, looking.parked, looking.agents, looking.tools, looking.workers,
    deciding.approve, deciding.reject, deciding.settle, deciding.signal, deciding.cancel,
    deciding.pause, deciding.resume, deciding.retry, proving.replay, store_commands.doctor, version,
):  # fmt: skip
    app.command(_command.__name__)(_command)
app.add_typer(store_commands.store, name="store")
app.command("ls", hidden=True)(looking.jobs)
app.command("tail", hidden=True)(looking.trace)

_FLAGS: Final = {"--json", "-q", "--quiet", "--no-input", "--debug"}
_VALUED: Final = {"--store", "-o", "--output", "--color"}


def hoist(words: Sequence[str]) -> list[str]:
    """Move the options of the whole program in front of the command."""
    front: list[str] = []
    rest: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        if word == "--":
            rest += words[at:]
            break
        if word in _FLAGS or word.partition("=")[0] in {"--store", "--output", "--color"} - {word}:
            front.append(word)
        elif word in _VALUED:
            front += words[at : at + 2]
            at += 1
        else:
            rest.append(word)
        at += 1
    return front + rest


def main() -> None:
    """Run the command line and leave with its exit code."""
    from aetheris_cli.ports import failpoints  # noqa: PLC0415 - after the parser is known

    words = hoist(sys.argv[1:])
    # The format must be known before anything can fail, so that errors are in it too.
    if "--json" in words or {"json", "jsonl"} & {*words[:8]}:
        out.format = Format.JSON
    try:
        failpoints.arm(os.environ.get("AETHERIS_FAILPOINTS"))
        code = _run(words)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


def _run(words: list[str]) -> int:
    try:
        result = typer.main.get_command(app).main(words, "aetheris", standalone_mode=False)
    except AetherisError as error:
        if base.options.debug:
            raise
        out.error(error)
        return error.exit
    except SystemExit as left:
        # The parser makes 1 of a closed pipe, even where it leaves all else to its caller.
        if isinstance(left.__context__, BrokenPipeError):
            raise left.__context__ from None
        raise
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        raise
    except Exception as error:
        if base.options.debug:
            raise
        return _other(error)
    return result if isinstance(result, int) else 0


def _other(error: Exception) -> int:
    """Give words to what the parser or nobody expected."""
    shown = getattr(error, "format_message", None)
    if shown is not None:
        context = getattr(error, "ctx", None)
        where = context.command_path if context is not None else "aetheris"
        problem: AetherisError = UsageError(shown() or "nothing to do", fix=f"{where} --help")
    elif type(error).__name__ == "Abort":
        return 130
    else:
        problem = Bug(
            f"{type(error).__name__}: {error}",
            why="this is a defect of Aetheris",
            fix="run it again with --debug and report what it prints",
        )
    out.error(problem)
    return problem.exit
