"""Global keys: one effect for all jobs that name it, whoever comes first.

A key belongs to a tool and is bound to the arguments of the call that holds it. Who holds it is
a row of the store; how that call stands is read off its job's history, and nowhere else.
"""

from enum import StrEnum

import msgspec

from aetheris_cli.domain.history import Step
from aetheris_cli.domain.states import AttemptState, CallState


class Standing(StrEnum):
    """How the call that holds a key stands."""

    FREE = "free"
    """It never went out and never will: another call may take the key."""
    OPEN = "open"
    """It may go out yet, or nobody knows whether it did."""
    DONE = "done"
    """It has an outcome, which is that of all."""


class Hold(StrEnum):
    """What became of the wish to hold a key."""

    OURS = "ours"
    WAIT = "wait"
    DONE = "done"
    CONFLICT = "conflict"
    LOST = "lost"
    """The worker that asked does not own the job any more."""


class Claim(msgspec.Struct, frozen=True):
    """The wish of a call to hold a key, in the name of its job's owner."""

    no: int
    worker: str
    epoch: int
    step: str
    tool: str
    key: str
    digest: str

    @property
    def name(self) -> str:
        """Name the key in the index of waits."""
        return f"{self.tool}:{self.key}"


class Held(msgspec.Struct, frozen=True):
    """The answer to a claim."""

    how: Hold
    call_id: str = ""
    """The call that holds the key, when it is another's."""
    step: Step | None = None
    """That call, when it is done."""


def standing(holder: Step | None, *, job_ended: bool) -> Standing:
    """Say how the call that holds a key stands; None: it has not begun."""
    if holder is None:
        return Standing.FREE if job_ended else Standing.OPEN
    if holder.call is CallState.SUCCEEDED:
        return Standing.DONE
    if holder.call is CallState.IN_DOUBT:
        return Standing.OPEN
    unsent = all(
        attempt.status is AttemptState.NOT_SENT
        for attempt in holder.attempts
        if attempt.n > holder.cleared
    )
    if holder.call is CallState.FAILED:
        return Standing.FREE if unsent else Standing.DONE
    return Standing.FREE if job_ended and unsent else Standing.OPEN
