"""Task graphs for people: as a picture in characters, or in the language of a drawing tool."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from aetheris_cli.cli.output import Row, cell
from aetheris_cli.domain.drawing import draw, width
from aetheris_cli.domain.graph import Node, compile_graph
from aetheris_cli.domain.layout import lay_out

MARKS: Final = {
    "pending": "·",
    "ready": "·",
    "running": "▶",
    "waiting": "‖",
    "succeeded": "✔",
    "failed": "✘",
    "skipped": "⤼",
    "cancelled": "∅",
}
"""The sign of each state of a step."""
MOST: Final = 400
"""Steps in a picture; a larger one could not be read anyway."""
_LABEL: Final = 28


def layered(steps: Sequence[Row], columns: int) -> list[str] | None:
    """Draw steps from left to right; None when that does not fit into `columns` (0: it does)."""
    if len(steps) > MOST:
        return None
    known = {one["id"] for one in steps}
    graph = compile_graph(
        [Node(one["id"], after=tuple(name for name in one["after"] if name in known))
         for one in steps]
    )  # fmt: skip
    layout = lay_out(graph)
    for label in (_whole, _short):
        lines = draw(layout, {one["id"]: label(one) for one in steps})
        if not columns or max(map(width, lines), default=0) <= columns:
            return lines
    return None


def _whole(step: Row) -> str:
    name = cell(step["name"])
    shown = name if len(name) <= _LABEL else name[: _LABEL - 1] + "…"
    return f"{_short(step)} {shown}".rstrip()


def _short(step: Row) -> str:
    return f"{MARKS[step['status']]} {step['id']}"


class _Language(NamedTuple):
    """How a graph is written for a drawing tool."""

    first: str
    node: str
    edge: str
    last: str


_LANGUAGES: Final = {
    "mermaid": _Language(
        "graph TD", '  s{flat}["{id} {name}"]', "  s{flat_before} --> s{flat}", ""
    ),
    "dot": _Language(
        "digraph job {", '  "{id}" [label="{id} {name}"];', '  "{before}" -> "{id}";', "}"
    ),
}


def described(steps: Sequence[Row], language: str) -> Iterator[str]:
    """Write a graph in `mermaid` or `dot`."""
    words = _LANGUAGES[language]
    yield words.first
    for one in steps:
        ids: dict[str, Any] = {"id": one["id"], "flat": _flat(one["id"])}
        yield words.node.format(**ids, name=_plain(one["name"]))
        for before in one["after"]:
            yield words.edge.format(**ids, before=before, flat_before=_flat(before))
    if words.last:
        yield words.last


def _flat(step: str) -> str:
    return step.replace(".", "_")


def _plain(text: str) -> str:
    return cell(text).replace('"', "'").replace("\\", "/")
