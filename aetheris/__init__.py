"""The public Python names of Aetheris, and nothing else."""

from aetheris_cli.agents.python import agent
from aetheris_cli.app.runtime import Job, Runtime
from aetheris_cli.domain.errors import (
    AetherisError,
    BudgetExceeded,
    CallFailed,
    Conflict,
    Denied,
    InvalidPayload,
    NotFound,
    NotSent,
    Refused,
    StoreUnavailable,
    TimedOut,
    UsageError,
    WaitTimedOut,
)
from aetheris_cli.domain.retry import Retry
from aetheris_cli.engine.context import Context
from aetheris_cli.engine.outcome import Decision
from aetheris_cli.engine.sync_context import SyncContext
from aetheris_cli.ports.code import CallInfo, DidNotHappen, Happened, Unknown, current_call
from aetheris_cli.tools.python import tool

__all__ = [
    "AetherisError",
    "BudgetExceeded",
    "CallFailed",
    "CallInfo",
    "Conflict",
    "Context",
    "Decision",
    "Denied",
    "DidNotHappen",
    "Happened",
    "InvalidPayload",
    "Job",
    "NotFound",
    "NotSent",
    "Refused",
    "Retry",
    "Runtime",
    "StoreUnavailable",
    "SyncContext",
    "TimedOut",
    "Unknown",
    "UsageError",
    "WaitTimedOut",
    "agent",
    "current_call",
    "tool",
]
