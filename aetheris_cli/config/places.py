"""Where things are: the project's agents.yaml and the store."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

FILE: Final = "agents.yaml"
FOLDER: Final = ".aetheris"
DATABASE: Final = "aetheris.db"


class Places(NamedTuple):
    """What was found."""

    config: Path | None
    """The nearest agents.yaml upwards, if there is one."""
    store: str


def find(start: Path, environment: Mapping[str, str], store: str = "") -> Places:
    """Look for agents.yaml upwards from `start`, like git looks for a repository.

    The store: `store` when given, else AETHERIS_STORE, else `.aetheris/` beside agents.yaml,
    else the user's data directory.
    """
    here = start.absolute()
    config = next(
        (folder / FILE for folder in (here, *here.parents) if (folder / FILE).is_file()), None
    )
    url = store or environment.get("AETHERIS_STORE", "")
    if not url and config is not None:
        url = f"sqlite:///{config.parent / FOLDER / DATABASE}"
    if not url:
        data = environment.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")  # noqa: PTH111
        url = f"sqlite:///{Path(data) / 'aetheris' / DATABASE}"
    return Places(config, url)
