"""What all commands share: options of the whole program, the bridge to async, exit codes."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from aetheris_cli.cli.output import Output
from aetheris_cli.config import places
from aetheris_cli.domain import codec
from aetheris_cli.domain.errors import UsageError

if TYPE_CHECKING:
    from aetheris_cli.app.registry import CodeRegistry
    from aetheris_cli.app.session import Session

Result = TypeVar("Result")

EXIT: Final = {"succeeded": 0, "failed": 10, "cancelled": 11, "parked": 8}
MAX_STDIN: Final = 16 << 20

out: Final = Output()


class _Options:
    store = ""
    debug = False
    no_input = False


options: Final = _Options()


def found() -> places.Places:
    """Give the places of the project and the store."""
    try:
        here = Path.cwd()
    except FileNotFoundError:
        raise UsageError(
            "the current folder does not exist any more", fix="go to one that does"
        ) from None
    return places.find(here, os.environ, options.store)


def registry(*, needed: bool = False) -> "CodeRegistry":
    """Load what agents.yaml declares. With `needed`, having none is an error."""
    from aetheris_cli.app.declared import load  # noqa: PLC0415 - only where code is needed
    from aetheris_cli.app.registry import CodeRegistry  # noqa: PLC0415
    from aetheris_cli.config.agents import read  # noqa: PLC0415

    out.keep_data_apart()
    made = CodeRegistry()
    where = found().config
    if where is not None:
        load(read(where), made)
    elif needed:
        raise UsageError(
            "there is no agents.yaml here",
            why=f"looked in {Path.cwd()} and the folders above it",
            fix="write one, or go to the folder that has it",
        )
    return made


def bridge(work: Coroutine[Any, Any, Result]) -> Result:
    """Run async work to its end: the one place where a loop begins."""
    return asyncio.run(work)


def with_session(
    work: "Callable[[Session], Awaitable[Result]]",
    *,
    create: bool = False,
    code: "CodeRegistry | None" = None,
) -> Result:
    """Open the store, do `work` with it, and close it."""
    from aetheris_cli.app.registry import CodeRegistry  # noqa: PLC0415 - lazily, like the engine
    from aetheris_cli.app.session import opened  # noqa: PLC0415

    async def inside() -> Result:
        async with opened(found().store, code or CodeRegistry(), create=create) as session:
            return await work(session)

    return bridge(inside())


def message_of(text: str) -> str:
    """Read a message: itself, `-` for stdin, `@FILE` for a file."""
    try:
        if text == "-":
            data = sys.stdin.buffer.read(MAX_STDIN + 1)
        elif text.startswith("@"):
            with Path(text[1:]).open("rb") as file:
                data = file.read(MAX_STDIN + 1)
        else:
            return text
        if len(data) > MAX_STDIN:
            raise UsageError(f"the message is longer than {MAX_STDIN} bytes")
        return data.decode()
    except OSError as error:
        raise UsageError(f"the message cannot be read from {text[1:]}", why=str(error)) from error
    except UnicodeDecodeError as error:
        raise UsageError("the message is no UTF-8 text", why=str(error)) from error


def json_of(text: str | None, what: str) -> Any:  # noqa: ANN401
    """Read a JSON option. Raises InvalidPayload."""
    if text is None:
        return None
    return codec.parse(text, what)


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something that cannot be taken back. Raises UsageError where nobody can answer."""
    if yes:
        return
    if options.no_input or not sys.stdin.isatty():
        raise UsageError(
            "this needs a person's yes, and there is no terminal to ask on",
            why=question,
            fix="add --yes",
        )
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise UsageError("nothing was done", why="the answer was not yes")


def ids_of(given: list[str], option: str | None = None) -> list[str]:
    """Give the ids of a command: arguments, `--job`, or `-` for lines on stdin."""
    names: list[str] = [*given, *([option] if option else [])]
    if "-" in names:
        at = names.index("-")
        names[at : at + 1] = [line.strip() for line in sys.stdin if line.strip()]
        return names
    if not names:
        raise UsageError("no id was given", fix="give an id, a unique beginning of one, or @last")
    return names


def one_of(given: str | None, option: str | None) -> str:
    """Give the one id of a command."""
    names = ids_of([given] if given else [], option)
    if len(names) != 1:
        raise UsageError("give one job, as an argument or as --job")
    return names[0]
