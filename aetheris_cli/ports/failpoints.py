"""Named places at which a test kills or holds the process. In production each is one look.

`intent.after_commit:2` makes the second pass of that place send SIGKILL to this process, so
nothing that a process does at its end can help. `store.before_commit:3@/tmp/gate` holds the
third pass instead: it makes `/tmp/gate.reached` and waits until `/tmp/gate.go` exists.
"""

import os
import signal
import time
from pathlib import Path
from typing import Final, NamedTuple

from aetheris_cli.domain.errors import UsageError

NAMES: Final = (
    "submit.before_commit",
    "submit.after_commit",
    "claim.after_commit",
    "intent.before_commit",
    "intent.after_commit",
    "call.before_send",
    "call.after_send",
    "result.before_commit",
    "result.after_commit",
    "park.before_commit",
    "park.after_commit",
    "end.before_commit",
    "end.after_commit",
    "store.before_commit",
    "store.after_commit",
    "restore.after_copy",
    "restore.before_note",
    "restore.after_note",
    "restore.after_link",
    "restore.before_rename",
    "restore.after_rename",
)

_LOOK_S: Final = 0.002


class _Armed(NamedTuple):
    left: int
    gate: str


_armed: Final[dict[str, _Armed]] = {}


def arm(text: str | None) -> None:
    """Arm places written as `name:count` or `name:count@gate`, with commas between them."""
    for part in filter(None, (text or "").split(",")):
        place, _, gate = part.partition("@")
        name, _, count = place.partition(":")
        if name not in NAMES:
            raise UsageError(f"there is no failpoint {name!r}", fix=f"one of {', '.join(NAMES)}")
        if count and not (count.isdecimal() and int(count)):
            raise UsageError(f"{place!r}: the count is not a number from 1")
        _armed[name] = _Armed(int(count or 1), gate)


def hit(name: str) -> None:
    """Pass the place `name`; die or wait there when it is armed and its count is used up."""
    if not _armed:
        return
    found = _armed.get(name)
    if found is None:
        return
    if found.left > 1:
        _armed[name] = found._replace(left=found.left - 1)
    elif found.gate:
        del _armed[name]
        Path(f"{found.gate}.reached").touch()
        # The process is to stand still, its event loop too, until another process says go:
        # there is nothing to be woken by but a look at the file.
        while not Path(f"{found.gate}.go").exists():
            time.sleep(_LOOK_S)
    else:
        os.kill(os.getpid(), signal.SIGKILL)


def armed() -> bool:
    """Whether any place is armed."""
    return bool(_armed)
