"""The task graph: levels and critical path respect every edge, and a cycle is named in order."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetheris_cli.domain.errors import UsageError
from aetheris_cli.domain.graph import Compiled, Node, compile_graph


@st.composite
def acyclic(draw: st.DrawFn) -> list[Node]:
    """Draw a graph without a cycle, its nodes in any order."""
    weights = draw(st.lists(st.integers(1, 9), max_size=10))
    nodes: list[Node] = []
    for place, weight in enumerate(weights):
        earlier = [node.id for node in nodes]
        after = draw(st.lists(st.sampled_from(earlier), max_size=4)) if earlier else []
        nodes.append(Node(f"n{place}", after=tuple(after), weight=float(weight)))
    return draw(st.permutations(nodes))


def build(text: str) -> Compiled:
    """Compile `a b:a c:a,b`: each id, and after a colon what it waits for."""
    nodes = []
    for word in text.split():
        name, _, after = word.partition(":")
        nodes.append(Node(name, after=tuple(filter(None, after.split(",")))))
    return compile_graph(nodes)


@given(acyclic())
def test_a_level_is_one_more_than_the_deepest_predecessor(nodes: list[Node]) -> None:
    graph = compile_graph(nodes)
    for node in nodes:
        deepest = max((graph.level_of[dep] for dep in node.after), default=-1)
        assert graph.level_of[node.id] == deepest + 1


@given(acyclic())
def test_each_node_is_in_one_level_in_the_order_given(nodes: list[Node]) -> None:
    graph = compile_graph(nodes)
    given_order = [node.id for node in nodes]
    assert list(graph.nodes) == given_order
    assert sorted(name for level in graph.levels for name in level) == sorted(given_order)
    for place, level in enumerate(graph.levels):
        assert level
        assert list(level) == [name for name in given_order if graph.level_of[name] == place]


@given(acyclic())
def test_the_critical_path_is_a_chain_and_none_is_heavier(nodes: list[Node]) -> None:
    graph = compile_graph(nodes)
    path = graph.critical_path
    for before, name in pairwise(path):
        assert before in graph.nodes[name].after
    heaviest: dict[str, float] = {}
    for name in (name for level in graph.levels for name in level):
        node = graph.nodes[name]
        heaviest[name] = node.weight + max((heaviest[dep] for dep in node.after), default=0.0)
    assert sum(graph.nodes[name].weight for name in path) == max(heaviest.values(), default=0.0)


@given(acyclic(), st.data())
def test_an_edge_back_along_a_path_makes_a_cycle_that_is_named(
    nodes: list[Node], data: st.DataObject
) -> None:
    path = compile_graph(nodes).critical_path
    if not path:
        return
    first, last = sorted(data.draw(st.tuples(*[st.integers(0, len(path) - 1)] * 2)))
    broken = {
        node.id: Node(node.id, after=(*node.after, path[last])) if node.id == path[first] else node
        for node in nodes
    }
    with pytest.raises(UsageError, match="has a cycle") as caught:
        compile_graph(list(broken.values()))
    loop = caught.value.details["cycle"]
    assert loop[0] == loop[-1]
    assert len(set(loop)) == len(loop) - 1
    for before, name in pairwise(loop):
        assert before in broken[name].after


def test_the_empty_graph() -> None:
    graph = build("")
    assert (graph.levels, graph.critical_path, graph.nodes) == ((), (), {})


def test_a_diamond() -> None:
    graph = build("d:b,c b:a c:a a")
    assert graph.levels == (("a",), ("b", "c"), ("d",))
    assert graph.critical_path == ("a", "b", "d")


def test_nodes_that_wait_for_nothing_share_a_level() -> None:
    assert build("c a b").levels == (("c", "a", "b"),)


def test_waiting_twice_for_one_step_is_waiting_once() -> None:
    assert build("a b:a,a").levels == (("a",), ("b",))


def test_weight_and_not_length_decides_the_critical_path() -> None:
    nodes = [Node("a"), Node("b", after=("a",)), Node("slow", weight=9.0)]
    assert compile_graph(nodes).critical_path == ("slow",)


def test_a_long_chain_in_reverse_needs_no_recursion() -> None:
    names = [f"n{place}" for place in range(5_000)]
    nodes = [Node(names[0]), *[Node(name, after=(dep,)) for dep, name in pairwise(names)]]
    graph = compile_graph(nodes[::-1])
    assert graph.levels == tuple((name,) for name in names)
    assert graph.critical_path == tuple(names)


@pytest.mark.parametrize(
    ("text", "cycle"),
    [("a:a", "a -> a"), ("a:b b:a", "b -> a -> b"), ("z x:z,y y:x w:y", "y -> x -> y")],
)
def test_a_cycle_is_named_without_what_merely_hangs_on_it(text: str, cycle: str) -> None:
    with pytest.raises(UsageError) as caught:
        build(text)
    assert caught.value.message == f"the graph has a cycle: {cycle}"


def test_an_unknown_reference_names_the_nearest_step() -> None:
    with pytest.raises(UsageError, match="'b' waits for 'fetsch'") as caught:
        build("fetch b:fetsch")
    assert caught.value.fix == "did you mean 'fetch'?"
    with pytest.raises(UsageError) as caught:
        build("a b:zzz")
    assert "mean" not in caught.value.fix


def test_an_id_names_one_step() -> None:
    with pytest.raises(UsageError, match="two steps are called 'a'"):
        build("a b a")
    with pytest.raises(UsageError, match="no id"):
        compile_graph([Node("")])
