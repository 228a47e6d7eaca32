"""Named places at which a test kills the process. In production each is one look at a variable.

`arm("after_intent:2")` makes the second pass of that place send SIGKILL to this process, so
nothing that a process does at its end can help. The names are listed in `NAMES`.
"""

import os
import signal
from typing import Final

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
)

_armed: Final[dict[str, int]] = {}


def arm(text: str | None) -> None:
    """Arm places written as `name:count,name:count`; None or "" arms nothing."""
    for part in filter(None, (text or "").split(",")):
        name, _, count = part.partition(":")
        if name not in NAMES:
            raise UsageError(f"there is no failpoint {name!r}", fix=f"one of {', '.join(NAMES)}")
        _armed[name] = int(count or 1)


def hit(name: str) -> None:
    """Pass the place `name`; die there when it is armed and its count is used up."""
    if not _armed:
        return
    left = _armed.get(name)
    if left is None:
        return
    if left <= 1:
        os.kill(os.getpid(), signal.SIGKILL)
    _armed[name] = left - 1


def armed() -> bool:
    """Whether any place is armed."""
    return bool(_armed)
