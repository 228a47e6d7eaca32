"""A YAML file as plain data, with the place of every value: so that complaints name the line.

Only what JSON can hold is read, and only in spellings that no reader can take for another. YAML
1.1 makes booleans of `no` and `on`, numbers of `0o17`, `1_000` and `12:30`, and dates of
`2026-01-01`; whoever writes these means something else, so they must stand in quotes.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from aetheris_cli.domain.errors import UsageError

MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 40
MAX_NODES: Final = 100_000

_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORDS: Final = {"true": True, "false": False, "null": None, "": None, "~": None}
_INT_DIGITS: Final = 18


class Place(NamedTuple):
    """A line and a column, counted from 1."""

    line: int
    column: int


class Document(NamedTuple):
    """What a file holds. Paths are like `$.agents[0].id`; a key's own place ends in `~`."""

    path: Path
    data: Any
    places: dict[str, Place]

    def where(self, path: str) -> str:
        """Name the file and the place of a path, or of the nearest one around it."""
        while path not in self.places and path != "$":
            path = path[: max(path.rfind("."), path.rfind("["), 1)]
        line, column = self.places.get(path, Place(1, 1))
        return f"{self.path}:{line}:{column}"


def read(path: Path) -> Document:
    """Read a file. Raises UsageError with the place of the first mistake."""
    text = _text(path)
    try:
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            if isinstance(token, yaml.AliasToken | yaml.AnchorToken | yaml.TagToken):
                raise _wrong(path, token, "anchors, aliases and tags are not read here")
            if isinstance(token, yaml.DirectiveToken):
                raise _wrong(path, token, "directives are not read here")
        documents = list(_composed(text))
    except RecursionError:
        raise UsageError(f"{path} is nested too deeply", fix="nest less") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f":{mark.line + 1}:{mark.column + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error)
        raise UsageError(
            f"{path}{place}: {problem}", why="it is no YAML", fix="mend that line"
        ) from None
    if len(documents) > 1:
        raise _wrong(path, documents[1], "the file holds several documents", fix="keep one")
    places: dict[str, Place] = {"$": Place(1, 1)}
    data = _Reader(path, places).value(documents[0], "$", 0) if documents else None
    return Document(path, data, places)


def _composed(text: str) -> Iterator[Node]:
    loader = yaml.SafeLoader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                yield node
    finally:
        loader.dispose()


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read", why=error.strerror or str(error), fix="check the file"
        ) from error
    if len(data) > MAX_BYTES:
        raise UsageError(
            f"{path} has more than {MAX_BYTES:,} bytes",
            why="that is no configuration",
            fix="keep data elsewhere",
        )
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path} is no UTF-8 text", why=str(error), fix="save it as UTF-8"
        ) from None
    if text.startswith("\ufeff"):
        raise UsageError(
            f"{path}:1:1: the file begins with a byte order mark",
            why="some programs read it as a part of the first key",
            fix="save it as UTF-8 without one",
        )
    return text


class _Reader:
    """Turns nodes into data and notes their places."""

    def __init__(self, path: Path, places: dict[str, Place]) -> None:
        self._path = path
        self._places = places
        self._nodes = 0

    def value(self, node: Node, at: str, depth: int) -> Any:  # noqa: ANN401 - any JSON
        self._nodes += 1
        if depth > MAX_DEPTH or self._nodes > MAX_NODES:
            raise _wrong(self._path, node, "the file is nested too deeply, or too large")
        self._places[at] = _place(node)
        if isinstance(node, MappingNode):
            return self._mapping(node, at, depth)
        if isinstance(node, SequenceNode):
            return [
                self.value(one, f"{at}[{index}]", depth + 1) for index, one in enumerate(node.value)
            ]
        if not isinstance(node, ScalarNode):
            raise _wrong(self._path, node, "this can be no part of a configuration")
        return self._scalar(node)

    def _mapping(self, node: MappingNode, at: str, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                raise _wrong(self._path, key, "a key must be a text")
            name = str(key.value)
            if name == "<<":
                raise _wrong(self._path, key, "merge keys are not read here", fix="write it out")
            if name in found:
                raise _wrong(
                    self._path, key, f"the key {name[:80]!r} stands twice", fix="remove one of them"
                )
            found[name] = self.value(value, f"{at}.{name}", depth + 1)
            self._places[f"{at}.{name}~"] = _place(key)
        return found

    def _scalar(self, node: ScalarNode) -> Any:  # noqa: ANN401 - any JSON
        text = str(node.value)
        if node.style is not None:
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _NUMBER.fullmatch(text) and len(text) <= _INT_DIGITS:
            number = float(text)
            return int(text) if re.fullmatch(r"-?[0-9]+", text) else number
        if not node.tag.endswith(":str") or _NUMBER.fullmatch(text):
            kind = node.tag.rpartition(":")[2]
            raise _wrong(
                self._path,
                node,
                f"{text[:40]} can be read as {'another ' if kind == 'str' else ''}{_KINDS[kind]}",
                why="readers of YAML disagree about it",
                fix=f'write "{text[:40]}" in quotes',
            )
        return text


_KINDS: Final = {
    "bool": "a yes or no",
    "int": "a number",
    "float": "a number",
    "timestamp": "a date",
    "null": "nothing",
    "str": "number",
    "merge": "a merge",
    "value": "a default value",
}


def _place(node: Any) -> Place:  # noqa: ANN401 - a node or a token
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def _wrong(path: Path, node: Any, what: str, *, why: str = "", fix: str = "") -> UsageError:  # noqa: ANN401
    line, column = _place(node)
    return UsageError(f"{path}:{line}:{column}: {what}", why=why, fix=fix)
