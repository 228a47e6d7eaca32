"""The stores that the contract is played on, and the helpers that stand beside this file.

`contract/` says what every store does: a second store adds its address to `play`, and nothing
else. `sqlite/` holds what only a file can do.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from scene import Play, player  # type: ignore[import-not-found]


@pytest.fixture(params=["sqlite"])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Play:
    urls = {"sqlite": f"sqlite:///{tmp_path / 'jobs.db'}"}
    return player(urls[request.param])
