"""agents.yaml, read strictly. Every complaint names the file, the line and the column."""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from aetheris_cli.config import document
from aetheris_cli.config.document import Document
from aetheris_cli.config.specs import TAGGED, WORDS, AgentSpec, Config, RetrySpec, ToolSpec
from aetheris_cli.domain.errors import UsageError

_AT: Final = re.compile(r"^(.*?)(?: - at `(\$[^`]*)`)?$", re.DOTALL)
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_VALUE: Final = re.compile(r"Invalid (?:enum )?value (.*)", re.DOTALL)
_KINDS: Final = {
    "str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false",
    "array": "a list", "object": "a mapping", "null": "nothing",
}  # fmt: skip


class Declared(NamedTuple):
    """Everything that agents.yaml declares, and where each entry stands."""

    document: Document
    config: Config

    @property
    def folder(self) -> Path:
        """The folder of the file: what relative paths start from."""
        return self.document.path.parent

    def agents(self) -> Iterator[tuple[AgentSpec, str]]:
        """Give the agents, each with its place."""
        for at, one in enumerate(self.config.agents):
            yield one, self.document.where(f"$.agents[{at}]")

    def tools(self) -> Iterator[tuple[ToolSpec, str]]:
        """Give the tools, each with its place."""
        for at, one in enumerate(self.config.tools):
            yield one, self.document.where(f"$.tools[{at}]")


def read(path: Path) -> Declared:
    """Read agents.yaml. Raises UsageError with the place of the first mistake."""
    found = document.read(path)
    data = {} if found.data is None else found.data
    try:
        config = msgspec.convert(data, Config)
    except msgspec.ValidationError as error:
        raise _explained(found, str(error)) from None
    for kind in ("agents", "tools"):
        _no_twins(found, kind, [spec.id for spec in getattr(config, kind)])
    return Declared(found, config)


def _no_twins(found: Document, kind: str, names: list[str]) -> None:
    for at, name in enumerate(names):
        if name in names[:at]:
            raise UsageError(
                f"{found.where(f'$.{kind}[{at}].id')}: two {kind} are called {name}",
                why="an id names one of them",
                fix="rename one",
            )


def _explained(found: Document, text: str) -> UsageError:
    """Put a complaint of the reader into words, with its place and the nearest right word."""
    match = _AT.match(text)
    what, at = (match[1], match[2] or "$") if match is not None else (text, "$")
    # A place inside of a mapping with free keys has no name of its own.
    at = at.replace("[...]", "")
    unknown = _UNKNOWN.fullmatch(what)
    if unknown is not None:
        return _unknown_key(found, at, unknown[1])
    missing = re.fullmatch(r"Object missing required field `(.*)`", what)
    if missing is not None:
        return UsageError(
            f"{found.where(at)}: {_named(at)} needs {missing[1]}",
            why=f"its keys are {', '.join(_keys(found.data, at))}",
            fix=f"add {missing[1]}",
        )
    if at.endswith(".type") and _VALUE.fullmatch(what):
        kinds = TAGGED.get(re.sub(r"\[.*", "", at.removeprefix("$.")), {})
        given = str(_reached(found.data, at))
        near = get_close_matches(given, kinds, n=1)
        return UsageError(
            f"{found.where(at)}: there is no type {given[:80]!r}",
            why=f"there are {', '.join(kinds)}",
            fix=f"did you mean {near[0]!r}?" if near else "",
        )
    words = [str(one) for one in WORDS.get(at.rpartition(".")[2], ())]
    if words and _VALUE.fullmatch(what):
        near = get_close_matches(str(_reached(found.data, at)), words, n=1)
        return UsageError(
            f"{found.where(at)}: {_in_words(found, at, what)}",
            why=f"there are {', '.join(words)}",
            fix=f"did you mean {near[0]!r}?" if near else "",
        )
    return UsageError(
        f"{found.where(at)}: {_in_words(found, at, what)}",
        why=f"of {_named(at)}",
        fix="`aetheris config schema` says what can stand there",
    )


def _in_words(found: Document, at: str, what: str) -> str:
    given = str(_reached(found.data, at))[:80]
    expected = re.fullmatch(r"Expected `(.*)`, got `(.*)`", what)
    if expected is not None:
        kinds = [_KINDS.get(one, one) for one in expected[1].split(" | ") if one != "null"]
        return f"it must be {' or '.join(kinds)}, not {_KINDS.get(expected[2], expected[2])}"
    if "matching regex" in what and at.endswith(".entrypoint"):
        return f"{given!r} cannot be read: an entrypoint is module:function"
    if "matching regex" in what:
        return f"{given!r} cannot be read: letters, digits, '.', '-' and '_' make a name"
    value = _VALUE.fullmatch(what)
    return f"{given!r} is none of the words that can stand here" if value else what


def _unknown_key(found: Document, at: str, key: str) -> UsageError:
    keys = _keys(found.data, at)
    near = get_close_matches(key, keys, n=1)
    return UsageError(
        f"{found.where(f'{at}.{key}~')}: {_named(at)} has no key {key[:80]!r}",
        why=f"it may have {', '.join(keys)}",
        fix=f"did you mean {near[0]!r}?" if near else "remove it",
    )


def _named(at: str) -> str:
    """Say what a path leads to, for example an agent or a tool."""
    last = re.sub(r"\[\d+\]$", "", at).rpartition(".")[2].removeprefix("$")
    if not last:
        return "the file"
    if last in TAGGED and not at.endswith("]"):
        return f"the list of {last}"
    article = "an" if last[0] in "aeiou" else "a"
    return f"{article} {last[:-1] if at.endswith(']') and last.endswith('s') else last}"


Keys: TypeAlias = tuple[str, ...]


def _keys(data: Any, at: str) -> Keys:  # noqa: ANN401 - any JSON
    """Give the keys that the mapping at a path may have."""
    path = at.removeprefix("$").lstrip(".")
    if not path:
        return Config.__struct_fields__
    list_name = re.sub(r"\[.*", "", path)
    if path.endswith(".retry"):
        return RetrySpec.__struct_fields__
    here = _reached(data, at)
    kind = here.get("type") if isinstance(here, Mapping) else None
    record = TAGGED.get(list_name, {}).get(str(kind))
    return ("type", *record.__struct_fields__) if record is not None else ("id", "type")


def _reached(data: Any, at: str) -> Any:  # noqa: ANN401 - any JSON
    for name, index in re.findall(r"\.([^.\[]+)|\[(\d+)\]", at):
        try:
            data = data[name] if name else data[int(index)]
        except (KeyError, IndexError, TypeError):
            return None
    return data
