"""Python functions as agents: `@agent` gives the function an id and a version."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, overload

import msgspec

from aetheris_cli.domain import codec
from aetheris_cli.domain.errors import UsageError
from aetheris_cli.domain.retry import duration_ms
from aetheris_cli.ports.code import Agent

Function = TypeVar("Function", bound=Callable[..., Any])

ATTRIBUTE = "__aetheris_agent__"


@overload
def agent(function: Function, /) -> Function: ...


@overload
def agent(
    id: str | None = None,
    *,
    version: str = "1",
    timeout: str | float | None = None,
) -> Callable[[Function], Function]: ...


def agent(
    id: Any = None,  # noqa: A002 - the public name
    *,
    version: str = "1",
    timeout: str | float | None = None,
) -> Any:
    """Declare `async def f(ctx, message)` or `def f(ctx, message)` as an agent.

    `timeout`: how long a job may take from its first claim on, waits included; after that it
    fails as `timed_out`, and a call in flight whose effect is unknown is in doubt. Without
    parentheses the id is the function's name.
    """
    if callable(id):
        return agent()(id)
    limit = 0 if timeout is None else max(1, duration_ms(timeout, "timeout"))

    def declare(function: Function) -> Function:
        setattr(function, ATTRIBUTE, _make(function, id, version, limit))
        return function

    return declare


def as_agent(
    thing: object,
    *,
    id: str | None = None,  # noqa: A002
    version: str | None = None,
    timeout_ms: int | None = None,
    tools: frozenset[str] | None = None,
) -> Agent:
    """Give the agent that a decorated or bare function is, with what is given in front."""
    made = getattr(thing, ATTRIBUTE, None)
    if isinstance(thing, Agent):
        made = thing
    elif made is None and callable(thing):
        made = _make(thing, id, version or "1")
    if not isinstance(made, Agent):
        raise UsageError(f"{thing!r} is not an agent", why="an agent is a function (ctx, message)")
    given = {"id": id, "version": version, "timeout_ms": timeout_ms, "tools": tools}
    return msgspec.structs.replace(
        made, **{key: value for key, value in given.items() if value is not None}
    )


def _make(
    function: Callable[..., Any], name: str | None, version: str, timeout_ms: int = 0
) -> Agent:
    label = codec.text(name or str(getattr(function, "__name__", "agent")), "the id of an agent")
    codec.text(version, f"the version of agent {label}")
    try:
        inspect.signature(function).bind(None, "")
    except (TypeError, ValueError):
        raise UsageError(
            f"agent {label} cannot be called with (ctx, message)",
            why="an agent takes its context and the message",
            fix=f"write: async def {label}(ctx, message)",
        ) from None
    return Agent(
        id=label,
        run=function,
        is_async=inspect.iscoroutinefunction(function),
        version=version,
        description=(inspect.getdoc(function) or "").partition("\n")[0],
        timeout_ms=timeout_ms,
    )
