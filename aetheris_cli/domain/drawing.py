"""A task graph in characters: nodes as labels, edges as lines from left to right.

Between two columns lies a channel. Sources that lead to the same targets share one upright
trunk in it. Where a line crosses a trunk, the trunk is drawn; where lines of two trunks run into
one target, one of them is heavy, so that no line can be followed to a place it does not lead to.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Final, NamedTuple

from aetheris_cli.domain.layout import Layout

_LINE: Final = {
    # left, right, up, down: 0 none, 1 light, 2 heavy
    (1, 1, 0, 0): "─", (0, 0, 1, 1): "│", (2, 2, 0, 0): "━", (0, 0, 2, 2): "┃",
    (1, 0, 0, 1): "╮", (1, 0, 1, 0): "╯", (0, 1, 0, 1): "╭", (0, 1, 1, 0): "╰",
    (1, 1, 0, 1): "┬", (1, 1, 1, 0): "┴", (1, 0, 1, 1): "┤", (0, 1, 1, 1): "├",
    (1, 1, 1, 1): "┼", (1, 0, 0, 0): "─", (0, 1, 0, 0): "─",
    (2, 0, 0, 2): "┓", (2, 0, 2, 0): "┛", (0, 2, 0, 2): "┏", (0, 2, 2, 0): "┗",
    (2, 2, 0, 2): "┳", (2, 2, 2, 0): "┻", (2, 0, 2, 2): "┫", (0, 2, 2, 2): "┣",
    (2, 2, 2, 2): "╋", (2, 0, 0, 0): "━", (0, 2, 0, 0): "━", (1, 2, 0, 0): "╼",
    (1, 2, 0, 2): "┲", (1, 2, 2, 0): "┺", (1, 2, 2, 2): "╊", (1, 2, 0, 1): "┮",
    (1, 2, 1, 0): "┶", (1, 2, 1, 1): "┾", (2, 2, 0, 1): "┯", (2, 2, 1, 0): "┷",
    (2, 2, 1, 1): "┿", (1, 1, 0, 2): "┰", (1, 1, 2, 0): "┸", (1, 1, 2, 2): "╂",
    (2, 0, 0, 1): "┑", (2, 0, 1, 0): "┙", (2, 0, 1, 1): "┥",
}  # fmt: skip
_LIGHT: Final = 1
_HEAVY: Final = 2
_ARROW: Final = "▶"


class _Net(NamedTuple):
    """One trunk: the lines at which it is entered from the left and left to the right."""

    sources: frozenset[int]
    targets: frozenset[int]
    weight: int = _LIGHT
    leaves: int = -1
    """The free line by which its second half is reached, when it is cut in two."""
    enters: int = -1
    """The free line by which its first half reaches it."""

    @property
    def straight(self) -> bool:
        return self.sources == self.targets and len(self.sources) == 1

    @property
    def lines(self) -> list[int]:
        """All lines that it touches, from the top."""
        detour = {self.leaves, self.enters} - {-1}
        return sorted(self.sources | self.targets | detour)


def width(text: str) -> int:
    """Give the number of cells that a text takes on a terminal."""
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1
        for one in text
    )


def draw(layout: Layout, labels: Mapping[str, str]) -> list[str]:
    """Give the lines of the picture. `labels`: what is written for each node, one line each."""
    nets = [_nets(layout, column) for column in range(layout.columns - 1)]
    plans = [_tracks(one) for one in nets]
    if any(plan is None for plan in plans):
        # Trunks that would have to pass each other twice need a free line between the rows.
        plans = [_tracks(_spread(one), detours=True) for one in nets]
        height, spread = 2 * layout.rows + 1, True
    else:
        height, spread = layout.rows, False
    lines = [""] * height
    for column in range(layout.columns):
        plan = (plans[column] or []) if column < len(plans) else []
        leads = {row: _LINE[net.weight, net.weight, 0, 0] for net in plan for row in net.sources}
        _write_column(layout, column, labels, lines, leads, spread=spread)
        if column < layout.columns - 1:
            heads = {
                _line(place.row, spread=spread)
                for place in layout.places.values()
                if place.column == column + 1
            }
            for at, text in enumerate(_channel(plan, heads, height)):
                lines[at] += text
    return [line.rstrip() for line in lines if line.strip()]


def _line(row: int, *, spread: bool) -> int:
    return 2 * row + 1 if spread else row


def _write_column(
    layout: Layout,
    column: int,
    labels: Mapping[str, str],
    lines: list[str],
    leads: Mapping[int, str],
    *,
    spread: bool,
) -> None:
    """Write labels, each led on by a line if something comes after it, and passing edges."""
    here = {
        _line(place.row, spread=spread): name
        for name, place in layout.places.items()
        if place.column == column
    }
    wide = max(width(labels[name]) for name in here.values())
    for at in range(len(lines)):
        text = labels[here[at]] if at in here else ""
        lines[at] += text + leads.get(at, " ") * (wide - width(text) + 1)


def _nets(layout: Layout, column: int) -> list[_Net]:
    """Collect the edges of a channel into trunks: sources with the same targets share one."""
    targets: dict[int, set[int]] = {}
    for wire in layout.wires:
        for one, other in pairwise(wire.through):
            if one.column == column:
                targets.setdefault(one.row, set()).add(other.row)
    sources: dict[frozenset[int], set[int]] = {}
    for source, found in targets.items():
        sources.setdefault(frozenset(found), set()).add(source)
    nets = [_Net(frozenset(given), found) for found, given in sources.items()]
    return _weighted(sorted(nets, key=lambda net: (not net.straight, net.lines)))


def _weighted(nets: Iterable[_Net]) -> list[_Net]:
    """Make one of two trunks that meet at a target heavy."""
    done: list[_Net] = []
    for net in nets:
        met = {other.weight for other in done if other.targets & net.targets}
        done.append(net._replace(weight=_HEAVY if met == {_LIGHT} else _LIGHT))
    return done


def _spread(nets: Iterable[_Net]) -> list[_Net]:
    """Put an empty line above and below each row."""
    return [
        net._replace(
            sources=frozenset(2 * row + 1 for row in net.sources),
            targets=frozenset(2 * row + 1 for row in net.targets),
        )
        for net in nets
    ]


def _tracks(nets: Iterable[_Net], *, detours: bool = False) -> list[_Net] | None:
    """Order trunks from left to right so that no two lie on each other.

    Where the line by which one is entered is the line by which another is left, the former
    stands further left. When they go round in a circle: None, or with `detours` one of them is
    cut in two, joined by a free line.
    """
    left = list(nets)
    done: list[_Net] = []
    free = 0
    while left:
        ready = [one for one in left if not _preceding(one, left)]
        if ready:
            done += ready
            left = [one for one in left if one not in ready]
        elif not detours:
            return None
        else:
            cut = _in_a_circle(left)
            left.remove(cut)
            left += [
                cut._replace(targets=frozenset(), leaves=free),
                cut._replace(sources=frozenset(), enters=free),
            ]
            free += 2  # every other line has no node
    return done


def _preceding(net: _Net, others: Iterable[_Net]) -> list[_Net]:
    """Give those that have to stand further left."""
    return [
        one
        for one in others
        if one is not net
        and (one.sources & net.targets or (one.leaves == net.enters and one.leaves >= 0))
    ]


def _in_a_circle(nets: list[_Net]) -> _Net:
    """Find one of those that wait for each other: each of `nets` waits for another."""
    seen: list[_Net] = []
    net = nets[0]
    while net not in seen:
        seen.append(net)
        net = _preceding(net, nets)[0]
    return net


def _channel(nets: list[_Net], heads: set[int], height: int) -> list[str]:
    """Draw the lines of one channel."""
    trunks = [net for net in nets if not net.straight]
    wide = 2 * len(trunks) + 3
    track = {id(net): 1 + 2 * at for at, net in enumerate(trunks)}
    level = [[(0, 0)] * wide for _ in range(height)]
    upright = [[(0, 0)] * wide for _ in range(height)]
    for net in nets:
        if net.straight:
            _run(level[min(net.sources)], 0, wide, net.weight)
            continue
        at, ends = track[id(net)], net.lines
        for row in net.sources:
            _run(level[row], 0, at, net.weight)
        for row in net.targets:
            _run(level[row], at, wide, net.weight)
        if net.leaves >= 0:
            other = next(one for one in trunks if one.enters == net.leaves)
            _run(level[net.leaves], at, track[id(other)], net.weight)
        for row in range(ends[0], ends[-1] + 1):
            upright[row][at] = (
                net.weight if row > ends[0] else 0,
                net.weight if row < ends[-1] else 0,
            )
    joins = {(row, track[id(net)]) for net in trunks for row in net.lines}
    return [
        "".join(
            _ARROW
            if x == wide - 1 and row in heads and level[row][x] != (0, 0)
            else _glyph(level[row][x], upright[row][x], joined=(row, x) in joins)
            for x in range(wide)
        )
        for row in range(height)
    ]


def _run(cells: list[tuple[int, int]], start: int, stop: int, weight: int) -> None:
    """Draw a level line from the middle of cell `start` to the middle of cell `stop`."""
    for at in range(start, min(stop, len(cells) - 1) + 1):
        left, right = cells[at]
        cells[at] = (
            max(left, weight) if at > start or start == 0 else left,
            max(right, weight) if at < stop else right,
        )


def _glyph(level: tuple[int, int], upright: tuple[int, int], *, joined: bool) -> str:
    if level == (0, 0) and upright == (0, 0):
        return " "
    if not joined and upright != (0, 0):
        level = (0, 0)  # it passes under the trunk
    return _LINE[*level, *upright]
