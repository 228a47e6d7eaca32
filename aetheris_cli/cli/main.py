"""The command line: parse, call one operation, render. Every error has a documented exit code."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Final

import typer

import aetheris_cli
from aetheris_cli.cli import (
    base,
    configuring,
    deciding,
    looking,
    proving,
    running,
    store_commands,
)
from aetheris_cli.cli.base import out
from aetheris_cli.cli.output import Format, ReaderGone
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
    show_version: Annotated[bool, typer.Option("--version", help="print the version")] = False,
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
    if show_version:
        version()
        raise typer.Exit


def version() -> None:
    """Print the version."""
    out.record({"id": "aetheris", "version": aetheris_cli.__version__}, ["version"])


for _command in (
    running.run, running.submit, running.worker, running.demo,
    looking.jobs, looking.show, looking.trace, looking.graph, looking.timeline, looking.wait,
    looking.calls, looking.parked, looking.agents, looking.tools, looking.workers,
    deciding.approve, deciding.reject, deciding.settle, deciding.signal, deciding.cancel,
    deciding.pause, deciding.resume, deciding.retry, proving.replay, configuring.init,
    store_commands.doctor, version,
):  # fmt: skip
    app.command(_command.__name__)(_command)
app.add_typer(store_commands.store, name="store")
app.add_typer(configuring.config, name="config")
app.command("replay-here", hidden=True)(proving.replay_here)
app.command("ls", hidden=True)(looking.jobs)
app.command("tail", hidden=True)(looking.trace)

_FLAGS: Final = {"--version", "--json", "-q", "--quiet", "--no-input", "--debug"}
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


def main() -> int:
    """Run the command line and give its exit code."""
    from aetheris_cli.ports import failpoints  # noqa: PLC0415 - after the parser is known

    words = hoist(sys.argv[1:])
    # The format must be known before anything can fail, so that errors are in it too.
    if _wants_json(words):
        out.format = Format.JSON
    failpoints.arm(os.environ.get("AETHERIS_FAILPOINTS"))
    code = _run(words)
    try:
        out.finish()
    except AetherisError as error:
        out.error(error)
        return code or error.exit
    return code


def _wants_json(words: Sequence[str]) -> bool:
    given = [
        word.removeprefix("-o").removeprefix("--output=")
        for word in words
        if word.startswith(("-o", "--output="))
    ]
    after = [words[at + 1] for at, word in enumerate(words[:-1]) if word in {"-o", "--output"}]
    chosen = [one for one in (*given, *after) if one] or [os.environ.get("AETHERIS_OUTPUT", "")]
    return "--json" in words or chosen[-1] in {"json", "jsonl"}


def _run(words: list[str]) -> int:
    try:
        _refuse_what_is_no_text(words)
        result = typer.main.get_command(app).main(words, "aetheris", standalone_mode=False)
    except AetherisError as error:
        return _tell(error, words)
    except ReaderGone:
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if base.options.debug:
            raise
        return _other(error, words)
    return result if isinstance(result, int) else 0


def _tell(error: AetherisError, words: Sequence[str]) -> int:
    if base.options.debug:
        raise error
    if not error.fix and error.exit == UsageError.exit:
        error.fix = f"{_named(words)} --help"
    out.error(error)
    return error.exit


def _named(words: Sequence[str]) -> str:
    """Name the command that was given, as far as it is one."""
    named = next((word for word in words if not word.startswith("-")), "")
    groups = [info.name for info in app.registered_groups]
    known = named in {*groups, *(info.name for info in app.registered_commands)}
    return f"aetheris {named}" if known else "aetheris"


def _refuse_what_is_no_text(words: Sequence[str]) -> None:
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"the argument {word.encode('utf-8', 'replace').decode()[:80]!r} is no UTF-8 text",
                why="what cannot be written as text cannot be kept",
                fix="check the terminal's encoding",
            ) from None


def _other(error: Exception, words: Sequence[str]) -> int:
    """Give words to what the parser or nobody expected."""
    shown = getattr(error, "format_message", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(f"{error}\n")
        return UsageError.exit
    if type(error).__name__ == "Abort":
        return 130
    if shown is not None:
        context = getattr(error, "ctx", None)
        where = context.command_path if context is not None else "aetheris"
        problem: AetherisError = UsageError(
            shown() or "nothing to do", why="the command line does not fit", fix=f"{where} --help"
        )
    elif isinstance(error, OSError):
        problem = AetherisError(
            f"the system refused: {error.strerror or error}",
            why=f"{type(error).__name__} at {error.filename}" if error.filename else repr(error),
            fix="check that the file or folder exists and is yours; aetheris doctor",
        )
    else:
        problem = Bug(
            f"{type(error).__name__}: {error}",
            why="this is a defect of Aetheris",
            fix="run it again with --debug and report what it prints",
        )
    return _tell(problem, words)
