"""The lock directory beside a store: its id, and the highest generation that has been there.

The id stands for the directory in the lease of a worker: a free lock in it proves a death. So it
is bound to the directory itself, by device and inode; a copy of the directory, whose locks
nobody holds, has an id of its own. The generation is kept here because the store's file may be
damaged or gone when it is wanted.
"""

import contextlib
import os
import re
import secrets
from pathlib import Path
from typing import Final

from aetheris_cli.store import files

LOCKS_SUFFIX: Final = "-locks"
GENERATION: Final = "generation"


def lock_folder(path: Path) -> tuple[Path, str]:
    """Give the directory of locks beside the store, and its random id, making both at need."""
    folder = path.with_name(path.name + LOCKS_SUFFIX)
    files.make_folder(folder)
    with files.in_words(folder):
        return folder, _id_of(folder)


def _id_of(folder: Path) -> str:
    info = folder.stat()
    marker = folder / f"id-{info.st_dev:x}-{info.st_ino:x}"
    if not marker.exists():
        # Written under a name of its own and linked, so that no reader sees half of it and the
        # first of two makers wins.
        mine = folder / f"id.{secrets.token_hex(8)}"
        files.make_private(mine, secrets.token_hex(16))
        with contextlib.suppress(FileExistsError):
            os.link(mine, marker)
        mine.unlink()
    return marker.read_text("ascii")


def noted_generation(locks: Path) -> int:
    """Give the generation that was noted last; 0: none ever was."""
    try:
        return int((locks / GENERATION).read_text("ascii"))
    except (FileNotFoundError, ValueError):
        return 0


def note_generation(locks: Path, generation: int) -> None:
    """Keep a generation, unless a higher one is known. Only whoever is in the turnstile may."""
    if generation > noted_generation(locks):
        with files.in_words(locks):
            files.replace_durably(locks / GENERATION, f"{generation}\n")


def highest_generation(path: Path, locks: Path) -> int:
    """Give the highest generation that is known to have been at `path`; 0: none."""
    # What was moved aside has made room for one that is higher.
    aside = [int(found[1]) + 1 for one in aside_of(path) if (found := _ASIDE.search(one.name))]
    return max([noted_generation(locks), *aside])


_ASIDE: Final = re.compile(r"\.generation-(\d+)(?:-[0-9a-f]+)?$")


def aside_of(path: Path) -> list[Path]:
    """Give the stores that a restore has moved aside."""
    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    return sorted(
        one for one in beside
        if one.name.startswith(f"{path.name}.generation-") and _ASIDE.search(one.name)
    )  # fmt: skip
