"""Whatever a test of the engine has done to a store, its rows follow from its histories."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from aetheris_cli.store.check import check


@pytest.fixture(autouse=True)
def _stores_are_whole(tmp_path: Path) -> Iterator[None]:
    """Come last: by then the runtimes of the test have ended."""
    yield
    for path in tmp_path.rglob("*.db"):
        assert check(path) == [], path
