import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from shell import Shell  # type: ignore[import-not-found]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A project that no test changes: one job that has succeeded and one that asks."""
    made = Shell(tmp_path_factory.mktemp("settled"))
    made.ok("run", "echo", "hello")
    assert made.run("run", "asks", "pay?").returncode == 8
    yield made
    made.close()
