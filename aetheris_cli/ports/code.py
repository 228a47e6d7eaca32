"""What the engine needs to know of an agent and of a tool, whatever they are made of."""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Final, Protocol

import msgspec

from aetheris_cli.domain.errors import UsageError
from aetheris_cli.domain.ledger import Effect, OnInDoubt
from aetheris_cli.domain.retry import Retry


class CallInfo(msgspec.Struct, frozen=True, gc=False):
    """One attempt of a call, as the tool and its probe may see it."""

    id: str
    """The call id: the same at every attempt and every re-run."""
    key: str
    """The idempotency key to give to the provider."""
    attempt: int
    epoch: int
    args: dict[str, Any]


class Happened(msgspec.Struct, frozen=True):
    """A probe's answer: the effect took place, and this is its result."""

    result: Any = None


class DidNotHappen(msgspec.Struct, frozen=True):
    """A probe's authoritative answer: the effect did not take place."""


class Unknown(msgspec.Struct, frozen=True):
    """A probe's answer when it cannot be sure."""

    why: str = ""


ProbeAnswer = Happened | DidNotHappen | Unknown

_current: Final[ContextVar[CallInfo]] = ContextVar("aetheris_call")


def current_call() -> CallInfo:
    """Give the call that this tool is running for. Raises UsageError outside of one."""
    try:
        return _current.get()
    except LookupError:
        raise UsageError(
            "current_call() was used outside of a tool",
            why="only a tool that Aetheris called has a call",
        ) from None


set_current_call = _current.set


class Tool(msgspec.Struct, frozen=True, eq=False):
    """A tool as the ledger sees it. Times are milliseconds."""

    name: str
    run: Callable[..., Any]
    read: Callable[[bytes], dict[str, Any]]
    """Turns canonical argument bytes into what `run` is called with; raises InvalidPayload."""
    is_async: bool
    effect: Effect = Effect.UNSAFE
    schema: str = ""
    """The digest of the tool's name and parameters."""
    schema_json: dict[str, Any] = {}
    description: str = ""
    timeout_ms: int = 60_000
    max_time_ms: int | None = None
    retry: Retry = Retry(1)
    probe: Callable[[CallInfo], ProbeAnswer | Awaitable[ProbeAnswer]] | None = None
    key_ttl_ms: int | None = None
    on_in_doubt: OnInDoubt = OnInDoubt.PARK


class Agent(msgspec.Struct, frozen=True, eq=False):
    """An agent as the engine sees it."""

    id: str
    run: Callable[..., Any]
    """Called with (context, message); an async function, or a plain one for a thread."""
    is_async: bool
    version: str = "1"
    description: str = ""
    type: str = "python"
    timeout_ms: int = 0
    """How long a job may take, waits included, from its first claim on; 0: for ever."""
    tools: frozenset[str] | None = None
    """The only tools that it may call, by the operator's word; None: any."""


class Registry(Protocol):
    """Where the engine finds agents and tools by name."""

    def agent(self, name: str) -> Agent:
        """Give the agent. Raises NotFound."""

    def tool(self, tool: object) -> Tool:
        """Give the tool of that name, or the tool that a decorated function is."""

    def agents(self) -> dict[str, Agent]:
        """Give all agents by id."""

    def tools(self) -> dict[str, Tool]:
        """Give all tools by name."""
