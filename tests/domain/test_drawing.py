"""A picture of a graph leads the eye from each node to those that follow it, and to no other."""

import unicodedata
from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from aetheris_cli.domain.drawing import draw
from aetheris_cli.domain.graph import Compiled, Node, compile_graph
from aetheris_cli.domain.layout import Layout, lay_out

Edges = set[tuple[str, str]]
WORDS = {"LEFT": 0, "RIGHT": 1, "UP": 2, "DOWN": 3}
MOVES = {0: (0, -1), 1: (0, 1), 2: (-1, 0), 3: (1, 0)}


def graph(edges: Edges, names: str) -> Compiled:
    return compile_graph(
        [Node(name, after=tuple(a for a, b in sorted(edges) if b == name)) for name in names]
    )


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Edges, str]:
    names = "abcdefgh"[: draw(st.integers(1, 8))]
    pairs = [(a, b) for a in names for b in names if a < b]
    edges = draw(st.sets(st.sampled_from(pairs), max_size=14)) if pairs else set()
    return edges, names


def arms(glyph: str) -> list[int]:
    """Read from the name of a character which arms it has, and how heavy: left, right, up, down."""
    found = [0, 0, 0, 0]
    name = unicodedata.name(glyph, "")
    if not name.startswith("BOX DRAWINGS "):
        return found
    name = name.removeprefix("BOX DRAWINGS ").replace("ARC ", "")
    for both, each in (("HORIZONTAL", "LEFT AND RIGHT"), ("VERTICAL", "UP AND DOWN")):
        name = name.replace(both, each)
    weight = 0
    waiting: list[str] = []
    words = name.split()
    first = words[0] in {"LIGHT", "HEAVY"}
    for word in words:
        if word in {"LIGHT", "HEAVY"}:
            weight = 1 if word == "LIGHT" else 2
            for arm in waiting:
                found[WORDS[arm]] = weight
            waiting = []
        elif word in WORDS:
            if first:
                found[WORDS[word]] = weight
            else:
                waiting.append(word)
    return found


def test_the_arms_of_a_character_are_read_from_its_name() -> None:
    assert arms("─") == [1, 1, 0, 0]
    assert arms("╭") == [0, 1, 0, 1]
    assert arms("┺") == [1, 2, 2, 0]
    assert arms("╊") == [1, 2, 2, 2]
    assert arms("┿") == [2, 2, 1, 1]
    assert arms("╼") == [1, 2, 0, 0]


def followed(lines: list[str], start: tuple[int, int]) -> set[str]:
    """Follow every line to the right from a node, as an eye does, to the arrows it ends at."""
    reached: set[str] = set()
    seen: set[tuple[int, int, int, int, bool]] = set()
    todo = deque([(*start, 1, 0, False)])
    while todo:
        at = todo.popleft()
        if at in seen:
            continue
        seen.add(at)
        row, column, way, weight, merged = at
        glyph = lines[row][column] if column < len(lines[row]) else " "
        if glyph == "▶":
            reached.add(lines[row][column + 1])
            continue
        have = arms(glyph)
        back = way ^ 1
        if not have[back]:
            if way < 2 and have[2] and have[3]:  # it passes under a trunk
                todo.append((row, column + MOVES[way][1], way, weight, merged))
            continue
        if glyph in "─━" and have[back] != weight:
            weight, merged = have[back], False  # a new channel
        for out in range(1, 4):
            same = have[out] == (weight or have[back]) and not merged
            joins = out == 1 and have[1] >= have[back]
            if out != back and have[out] and (same or joins):
                down, right = MOVES[out]
                heavier = have[out] > (weight or have[back])
                todo.append(
                    (row + down, column + right, out, have[out], merged or (heavier and out == 1))
                )
    return reached


def drawn(edges: Edges, names: str) -> tuple[Layout, list[str]]:
    layout = lay_out(graph(edges, names))
    return layout, draw(layout, {name: name for name in names})


def read_back(lines: list[str], names: str) -> Edges:
    found = set()
    for name in names:
        ((row, column),) = [(at, line.index(name)) for at, line in enumerate(lines) if name in line]
        found |= {(name, end) for end in followed(lines, (row, column + 1))}
    return found


@given(graphs())
def test_every_edge_can_be_followed(case: tuple[Edges, str]) -> None:
    edges, names = case
    _, lines = drawn(edges, names)
    assert edges <= read_back(lines, names)


@given(graphs())
def test_nodes_and_bends_have_places_of_their_own(case: tuple[Edges, str]) -> None:
    edges, names = case
    layout, _ = drawn(edges, names)
    bends = [place for wire in layout.wires for place in wire.through[1:-1]]
    taken = [*layout.places.values(), *bends]
    assert len(set(taken)) == len(taken)
    assert {(wire.before, wire.after) for wire in layout.wires} == edges
    for wire in layout.wires:
        assert wire.through[0] == layout.places[wire.before]
        assert wire.through[-1] == layout.places[wire.after]
        columns = [place.column for place in wire.through]
        assert columns == list(range(columns[0], columns[-1] + 1))


def test_a_fork_and_a_join() -> None:
    edges = {("s", "a"), ("s", "b"), ("s", "c"), ("a", "t"), ("b", "t"), ("c", "t")}
    _, lines = drawn(edges, "sabct")
    assert lines == [
        "   ╭──▶a──╮",
        "s──┼──▶b──┼──▶t",
        "   ╰──▶c──╯",
    ]
    assert read_back(lines, "sabct") == edges


def test_two_trunks_that_share_a_target_differ_in_weight() -> None:
    edges = {("a", "x"), ("b", "x"), ("b", "y")}
    _, lines = drawn(edges, "abxy")
    assert read_back(lines, "abxy") == edges
    assert any("━" in line for line in lines)


def test_trunks_that_would_lie_on_each_other_take_a_detour() -> None:
    edges = {("a", "y"), ("b", "x"), ("a", "z"), ("b", "z"), ("a", "x")}
    _, lines = drawn(edges, "abxyz")
    assert read_back(lines, "abxyz") == edges


def test_a_label_may_have_wide_characters() -> None:
    layout = lay_out(graph({("a", "b"), ("c", "b")}, "abc"))
    lines = draw(layout, {"a": "漢字", "b": "b", "c": "cccc"})
    assert lines == ["漢字──┬──▶b", "cccc──╯"]


def test_a_wide_graph_is_laid_out_with_few_crossings() -> None:
    edges = {(a, b) for a, b in zip("abcdefgh", "ABCDEFGH", strict=True)}
    layout, lines = drawn(edges, "abcdefghABCDEFGH")
    assert len(lines) == 8
    assert all(layout.places[a].row == layout.places[b].row for a, b in edges)


@given(graphs())
def test_no_line_leads_elsewhere_while_two_trunks_at_most_meet(case: tuple[Edges, str]) -> None:
    edges, names = case
    few = {edge for edge in edges if sum(after == edge[1] for _, after in edges) <= 2}
    _, lines = drawn(few, names)
    assert read_back(lines, names) == few
