"""Ids: what they look like and what can be read off them.

A job id is `job_` and 26 characters: 10 of time (milliseconds), 16 of chance, in Crockford's
base 32, so that ids sort by age (the layout of a ULID). A call id is its job's id, a dot and
the step id; the step id is the place in the program: `2` is the second command of the agent,
`3.0.1` the first command in branch 0 of the gather that was command 3. So ids are the same at
every re-run and never depend on arguments or chance.
"""

import hashlib
from typing import Final, NewType

from aetheris_cli.domain.errors import UsageError

JobId = NewType("JobId", str)
StepId = NewType("StepId", str)
CallId = NewType("CallId", str)
ApprovalId = NewType("ApprovalId", str)
WorkerId = NewType("WorkerId", str)

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_TIME_CHARS: Final = 10
_CHANCE_CHARS: Final = 16
CHANCE_BYTES: Final = 10


def _base32(number: int, chars: int) -> str:
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(5 * chars - 5, -1, -5))


def make(prefix: str, now_ms: int, chance: bytes) -> str:
    """Build an id from a time in milliseconds and `CHANCE_BYTES` random bytes."""
    time_part = _base32(now_ms, _TIME_CHARS)
    return f"{prefix}_{time_part}{_base32(int.from_bytes(chance), _CHANCE_CHARS)}"


def call_id(job: JobId, step: StepId) -> CallId:
    """Name the call that `step` of `job` makes."""
    return CallId(f"{job}.{step}")


def approval_id(job: JobId, step: StepId) -> ApprovalId:
    """Name the approval that `step` of `job` asks for."""
    return ApprovalId(f"apr_{job.removeprefix('job_')}.{step}")


def child_id(parent_call: CallId) -> JobId:
    """Derive a child's job id from the call that starts it, so that a re-run finds the same job.

    A child keeps its parent's time part; the rest is a digest of the call id.
    """
    chance = hashlib.sha256(f"child:{parent_call}".encode()).digest()[:CHANCE_BYTES]
    time_part = parent_call.removeprefix("job_")[:_TIME_CHARS]
    return JobId(f"job_{time_part}{_base32(int.from_bytes(chance), _CHANCE_CHARS)}")


def split_call(text: str) -> tuple[JobId, StepId]:
    """Take a call id or an approval id apart. Raises UsageError when it is neither."""
    head, dot, step = text.partition(".")
    if not head or not dot or not step:
        raise UsageError(
            f"{text[:80]!r} is not the id of a call or an approval",
            why="such an id is a job id, a dot and the place of the step",
            fix="aetheris parked -q prints the ids that wait",
        )
    if head.startswith("apr_"):
        head = "job_" + head.removeprefix("apr_")
    return JobId(head), StepId(step)
