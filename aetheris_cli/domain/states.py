"""The states of jobs, steps, calls and attempts, and every legal move between them.

All that decides whether a move is legal lives in this file. The tables are data:
terminal sets are derived from them, and an unlisted move raises.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeVar


class JobState(StrEnum):
    """Where a durable run of an agent stands."""

    QUEUED = "queued"
    RUNNING = "running"
    PARKED = "parked"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ParkedReason(StrEnum):
    """Why a parked job waits. The list is closed."""

    APPROVAL = "approval"
    SIGNAL = "signal"
    TIMER = "timer"
    CHILD = "child"
    GLOBAL_KEY = "global_key"
    BUDGET = "budget"
    IN_DOUBT = "in_doubt"
    DIVERGED = "diverged"
    RESTORED = "restored"
    PAUSED = "paused"
    CRASH_LOOP = "crash_loop"
    BLOCKED_TOOL = "blocked_tool"


CONTRADICTED: Final = "contradicted"
"""The kind of question that is an alarm: what came late is not what a person had said."""


class StepState(StrEnum):
    """Where one node of a task graph stands."""

    PENDING = "pending"
    READY = "ready"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class CallState(StrEnum):
    """What the ledger knows about one logical invocation."""

    INTENDED = "intended"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"


class AttemptState(StrEnum):
    """What is known about one dispatch of a call."""

    SENT = "sent"
    SUCCEEDED = "succeeded"
    NOT_SENT = "not_sent"
    REFUSED = "refused"
    FAILED = "failed"
    UNKNOWN = "unknown"


class WorkerState(StrEnum):
    """What is known about a worker. Only `stopped` and `dead` prove that it sends nothing."""

    ALIVE = "alive"
    STOPPED = "stopped"
    """It ended its lease itself, and nothing that it had begun was still running."""
    DEAD = "dead"
    """Its process is proven to have ended."""
    LOST = "lost"
    """Its lease is over, but its process, or a tool in it, may still run."""


class IllegalTransition(Exception):
    """A move that no table lists. It is a bug in Aetheris; the state stays as it was."""

    def __init__(self, old: StrEnum, new: StrEnum) -> None:
        super().__init__(f"{type(old).__name__} cannot go from {old} to {new}")
        self.old = old
        self.new = new


_J, _S, _C, _A = JobState, StepState, CallState, AttemptState
_S_ENDS: Final = frozenset({_S.FAILED, _S.CANCELLED})

JOB: Final[Mapping[JobState, frozenset[JobState]]] = MappingProxyType(
    {
        _J.QUEUED: frozenset({_J.RUNNING, _J.PARKED, _J.CANCELLED}),
        _J.RUNNING: frozenset({_J.PARKED, _J.QUEUED, _J.SUCCEEDED, _J.FAILED, _J.CANCELLED}),
        _J.PARKED: frozenset({_J.QUEUED, _J.PARKED, _J.CANCELLED, _J.FAILED}),
        _J.SUCCEEDED: frozenset(),
        _J.FAILED: frozenset(),
        _J.CANCELLED: frozenset(),
    }
)

STEP: Final[Mapping[StepState, frozenset[StepState]]] = MappingProxyType(
    {
        _S.PENDING: frozenset({_S.READY, _S.SKIPPED, _S.CANCELLED}),
        _S.READY: frozenset({_S.RUNNING, _S.SKIPPED, _S.CANCELLED}),
        _S.RUNNING: _S_ENDS | {_S.WAITING, _S.SUCCEEDED},
        _S.WAITING: _S_ENDS | {_S.RUNNING},
        _S.SUCCEEDED: frozenset(),
        _S.FAILED: frozenset(),
        _S.SKIPPED: frozenset(),
        _S.CANCELLED: frozenset(),
    }
)

CALL: Final[Mapping[CallState, frozenset[CallState]]] = MappingProxyType(
    {
        _C.INTENDED: frozenset({_C.SUCCEEDED, _C.FAILED, _C.IN_DOUBT}),
        _C.IN_DOUBT: frozenset({_C.SUCCEEDED, _C.FAILED, _C.INTENDED}),
        _C.SUCCEEDED: frozenset(),
        _C.FAILED: frozenset(),
    }
)

ATTEMPT: Final[Mapping[AttemptState, frozenset[AttemptState]]] = MappingProxyType(
    {
        _A.SENT: frozenset({_A.SUCCEEDED, _A.NOT_SENT, _A.REFUSED, _A.FAILED, _A.UNKNOWN}),
        _A.SUCCEEDED: frozenset(),
        _A.NOT_SENT: frozenset(),
        _A.REFUSED: frozenset(),
        _A.FAILED: frozenset(),
        _A.UNKNOWN: frozenset(),
    }
)

State = TypeVar("State", bound=StrEnum)


def terminal(table: Mapping[State, frozenset[State]]) -> frozenset[State]:
    """Give the states of `table` that nothing leaves."""
    return frozenset(state for state, following in table.items() if not following)


def advance(table: Mapping[State, frozenset[State]], old: State, new: State) -> State:
    """Give `new` if `table` lists the move from `old`, else raise IllegalTransition."""
    if new not in table[old]:
        raise IllegalTransition(old, new)
    return new


SILENT: Final = frozenset({WorkerState.STOPPED, WorkerState.DEAD})
"""The states that prove that a worker sends nothing more."""

JOB_ENDED: Final = terminal(JOB)
STEP_ENDED: Final = terminal(STEP)
CALL_ENDED: Final = terminal(CALL)
ATTEMPT_ENDED: Final = terminal(ATTEMPT)

RESUMABLE: Final = frozenset(
    {
        ParkedReason.PAUSED,
        ParkedReason.RESTORED,
        ParkedReason.DIVERGED,
        ParkedReason.CRASH_LOOP,
    }
)
"""The reasons that a person lifts with `resume`; every other one waits for its own cause."""
