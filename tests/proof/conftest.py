import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from world import World  # type: ignore[import-not-found]

from aetheris_cli.testing.witness import Witness


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    worlds: list[World] = []
    with Witness(tmp_path / "witness.jsonl") as witness:

        def make() -> World:
            folder = tmp_path / "project"
            folder.mkdir()
            worlds.append(World(folder, witness.url, witness.log))
            return worlds[-1]

        yield make
        for world in worlds:
            world.close()
        odd = [one for world in worlds for one in world.odd()]
    assert odd == []
