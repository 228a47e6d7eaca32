"""What the engine's tests share; whatever they do, a store's rows follow from its histories."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from stage import Doors, Moved, closed  # type: ignore[import-not-found]

from aetheris import Runtime
from aetheris_cli.ports import clock as clocks
from aetheris_cli.store.check import check


@pytest.fixture(autouse=True)
def _stores_are_whole(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """Come last: by then the runtimes of the test have ended."""
    yield
    if request.node.get_closest_marker("spoiled") is not None:
        return
    for path in tmp_path.rglob("*.db"):
        assert check(path) == [], path


@pytest.fixture
def doors() -> Iterator[Doors]:
    found = Doors()
    yield found
    found.open_all()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Moved:
    moved = Moved()
    monkeypatch.setattr(clocks.SystemClock, "now_ms", moved.now_ms)
    monkeypatch.setattr(clocks.SystemClock, "roll", moved.roll)
    return moved


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'jobs.db'}"


@pytest.fixture
def start(url: str, doors: Doors) -> Iterator[Callable[..., Runtime]]:
    """Give a function that opens a runtime on the test's store, for as long as the test lasts."""
    opened: list[Runtime] = []

    def make(*agents: Any, **given: Any) -> Runtime:
        opened.append(Runtime(url, agents, **given).__enter__())
        return opened[-1]

    yield make
    doors.open_all()
    for one in reversed(opened):
        closed(one)
