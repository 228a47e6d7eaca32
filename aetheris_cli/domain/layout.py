"""Where the nodes of a task graph stand in a picture: columns are levels, edges run to the right.

The layered method of Sugiyama, Tagawa and Toda (1981): an edge that spans several levels passes
through a bend in each, the order within a level follows the mean place of the neighbours, and
rows are then pulled towards the neighbours without changing that order. Terminal, page and
dashboard draw from the same places.
"""

from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import fmean, median
from typing import Final, NamedTuple

import msgspec

from aetheris_cli.domain.graph import Compiled

_SWEEPS: Final = 8


class Place(NamedTuple):
    """A cell of the picture, counted from the left and from the top."""

    column: int
    row: int


class Wire(NamedTuple):
    """One edge, from node to node through its bends: one place in every column it touches."""

    before: str
    after: str
    through: tuple[Place, ...]


class Layout(msgspec.Struct, frozen=True):
    """Places for all nodes of a graph; no two share one, and no bend lies on a node."""

    places: Mapping[str, Place]
    wires: tuple[Wire, ...]
    columns: int
    rows: int


def lay_out(graph: Compiled) -> Layout:
    """Find places for the nodes of a graph."""
    board = _Board(graph)
    board.order()
    rows = board.rows()
    top = min((row for level in rows for row in level), default=0)
    at = {
        vertex: Place(column, rows[column][index] - top)
        for column, level in enumerate(board.levels)
        for index, vertex in enumerate(level)
    }
    wires = tuple(
        Wire(path[0][0], path[-1][0], tuple(at[vertex] for vertex in path)) for path in board.paths
    )
    places = {name: at[name, "", 0] for name in graph.nodes}
    height = 1 + max((place.row for place in at.values()), default=-1)
    return Layout(places, wires, len(graph.levels), height)


_Vertex = tuple[str, str, int]
"""A node (id, "", 0), or the bend (before, after, column) of an edge."""


class _Board:
    """The levels with their bends, and who is whose neighbour."""

    def __init__(self, graph: Compiled) -> None:
        self.levels: list[list[_Vertex]] = [
            [(name, "", 0) for name in level] for level in graph.levels
        ]
        self.paths: list[list[_Vertex]] = []
        self._before: dict[_Vertex, list[_Vertex]] = {}
        self._after: dict[_Vertex, list[_Vertex]] = {}
        for name, node in graph.nodes.items():
            for before in dict.fromkeys(node.after):
                self._join(graph, before, name)

    def _join(self, graph: Compiled, before: str, after: str) -> None:
        bends = range(graph.level_of[before] + 1, graph.level_of[after])
        path = [(before, "", 0), *((before, after, column) for column in bends), (after, "", 0)]
        for column, bend in zip(bends, path[1:-1], strict=True):
            self.levels[column].append(bend)
        for one, other in pairwise(path):
            self._after.setdefault(one, []).append(other)
            self._before.setdefault(other, []).append(one)
        self.paths.append(path)

    def order(self) -> None:
        """Order each level so that few edges cross: sweep to and fro, and keep the best."""
        best, fewest = [list(level) for level in self.levels], self._crossings()
        for sweep in range(_SWEEPS):
            if not fewest:
                break
            down = sweep % 2 == 0
            columns = range(1, len(self.levels)) if down else range(len(self.levels) - 2, -1, -1)
            for column in columns:
                beside = self.levels[column - 1 if down else column + 1]
                self._sort(column, beside, self._before if down else self._after)
            now = self._crossings()
            if now < fewest:
                best, fewest = [list(level) for level in self.levels], now
        self.levels = best

    def _sort(
        self, column: int, beside: Sequence[_Vertex], near: Mapping[_Vertex, list[_Vertex]]
    ) -> None:
        place = {vertex: index for index, vertex in enumerate(beside)}
        level = self.levels[column]
        wanted = {
            vertex: fmean(place[one] for one in near[vertex]) if vertex in near else float(index)
            for index, vertex in enumerate(level)
        }
        level.sort(key=wanted.__getitem__)

    def _crossings(self) -> int:
        count = 0
        for one, other in pairwise(self.levels):
            place = {vertex: index for index, vertex in enumerate(other)}
            seen: list[int] = []
            for vertex in one:
                ends = sorted(place[end] for end in self._after.get(vertex, ()))
                count += sum(len(seen) - bisect_right(seen, end) for end in ends)
                for end in ends:
                    insort(seen, end)
        return count

    def rows(self) -> list[list[int]]:
        """Give each vertex a row: near its neighbours, in the order of its level."""
        rows = [list(range(len(level))) for level in self.levels]
        last = len(self.levels) - 1
        for columns, near, step in (
            (range(1, last + 1), self._before, -1),
            (range(last - 1, -1, -1), self._after, 1),
            (range(1, last + 1), self._before, -1),
        ):
            for column in columns:
                beside = dict(zip(self.levels[column + step], rows[column + step], strict=True))
                rows[column] = _pulled(
                    [
                        median(beside[one] for one in near[vertex]) if vertex in near else row
                        for vertex, row in zip(self.levels[column], rows[column], strict=True)
                    ]
                )
        return rows


def _pulled(wanted: Iterable[float]) -> list[int]:
    """Give whole, rising numbers as near as can be to `wanted`.

    Pool adjacent violators (Ayer and others, 1955) on the wishes less one for each place before.
    """
    pools: list[tuple[float, int]] = []
    for index, row in enumerate(wanted):
        mean, size = row - index, 1
        while pools and pools[-1][0] > mean:
            before, count = pools.pop()
            mean, size = (before * count + mean * size) / (count + size), count + size
        pools.append((mean, size))
    found: list[int] = []
    for mean, size in pools:
        found += [round(mean) + len(found) + index for index in range(size)]
    return found
