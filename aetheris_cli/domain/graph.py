"""The task graph: nodes, what each waits for, and what `compile_graph` proves about it.

Compiling checks ids and references, names a cycle when there is one, and gives the parallel
levels and the critical path. It is linear in nodes and edges.
"""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

import msgspec

from aetheris_cli.domain.errors import UsageError


class Node(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step of a graph: its id, what it is called, and the ids it waits for."""

    id: str
    name: str = ""
    kind: str = "tool"
    after: tuple[str, ...] = ()
    weight: float = 1.0
    """How long it takes relative to the others; the critical path adds these up."""


class Compiled(msgspec.Struct, frozen=True):
    """A graph whose references hold and which has no cycle."""

    nodes: Mapping[str, Node]
    levels: tuple[tuple[str, ...], ...]
    """Level k holds the nodes whose longest chain of predecessors has k nodes."""
    level_of: Mapping[str, int]
    critical_path: tuple[str, ...]


def compile_graph(nodes: Sequence[Node]) -> Compiled:
    """Check `nodes` and work out levels and critical path.

    Raises UsageError for a duplicate id, an unknown reference (with the nearest name) or a
    cycle (naming its members in order).
    """
    by_id = _index(nodes)
    _check_references(by_id)
    order = _topological(by_id)
    if len(order) < len(by_id):
        loop = _find_cycle(by_id, set(by_id) - set(order))
        raise UsageError(
            f"the graph has a cycle: {' -> '.join(loop)}",
            why="each of these steps waits for the one before it, so none could ever start",
            fix="remove one of the references",
            cycle=loop,
        )
    level_of: dict[str, int] = {}
    longest: dict[str, float] = {}
    best: dict[str, str | None] = {}
    for name in order:
        after = by_id[name].after
        level_of[name] = 1 + max((level_of[dep] for dep in after), default=-1)
        best[name] = max(after, key=longest.__getitem__, default=None)
        longest[name] = by_id[name].weight + max((longest[dep] for dep in after), default=0.0)
    levels: list[list[str]] = [[] for _ in range(1 + max(level_of.values(), default=-1))]
    for name in by_id:
        levels[level_of[name]].append(name)
    return Compiled(
        nodes=by_id,
        levels=tuple(tuple(level) for level in levels),
        level_of=level_of,
        critical_path=_walk_back(best, longest),
    )


def _index(nodes: Iterable[Node]) -> dict[str, Node]:
    by_id: dict[str, Node] = {}
    for node in nodes:
        if not node.id:
            raise UsageError("a step has no id", why="other steps refer to it by its id")
        if node.id in by_id:
            raise UsageError(
                f"two steps are called {node.id!r}", why="an id names one step", fix="rename one"
            )
        by_id[node.id] = node
    return by_id


def _check_references(by_id: Mapping[str, Node]) -> None:
    for node in by_id.values():
        for dep in node.after:
            if dep not in by_id:
                near = get_close_matches(dep, by_id, n=1)
                raise UsageError(
                    f"step {node.id!r} waits for {dep!r}, which does not exist",
                    why="a step can only wait for a step of the same graph",
                    fix=f"did you mean {near[0]!r}?" if near else "add the step or drop the name",
                )


def _topological(by_id: Mapping[str, Node]) -> list[str]:
    """Kahn's algorithm (1962), stable in the order of the nodes."""
    missing = {name: len(set(node.after)) for name, node in by_id.items()}
    followers: dict[str, list[str]] = {name: [] for name in by_id}
    for name, node in by_id.items():
        for dep in dict.fromkeys(node.after):
            followers[dep].append(name)
    order = [name for name, count in missing.items() if count == 0]
    for name in order:  # grows while it is walked
        for follower in followers[name]:
            missing[follower] -= 1
            if missing[follower] == 0:
                order.append(follower)
    return order


def _find_cycle(by_id: Mapping[str, Node], stuck: set[str]) -> list[str]:
    """Follow unmet references from any stuck node until one comes up twice."""
    name = next(node for node in by_id if node in stuck)
    path: list[str] = []
    place: dict[str, int] = {}
    while name not in place:
        place[name] = len(path)
        path.append(name)
        name = next(dep for dep in by_id[name].after if dep in stuck)
    loop = path[place[name] :]
    loop.reverse()
    return [*loop, loop[0]]


def _walk_back(best: Mapping[str, str | None], longest: Mapping[str, float]) -> tuple[str, ...]:
    path: list[str] = []
    name: str | None = max(longest, key=longest.__getitem__, default=None)
    while name is not None:
        path.append(name)
        name = best[name]
    return tuple(reversed(path))
