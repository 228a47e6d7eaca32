"""Python functions as agents: `@agent` gives the function an id and a version."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from aetheris_cli.domain.errors import UsageError
from aetheris_cli.ports.code import Agent

Function = TypeVar("Function", bound=Callable[..., Any])

ATTRIBUTE = "__aetheris_agent__"


def agent(id: str | None = None, *, version: str = "1") -> Callable[[Function], Function]:  # noqa: A002 - the public name
    """Declare `async def f(ctx, message)` or `def f(ctx, message)` as an agent."""

    def declare(function: Function) -> Function:
        setattr(function, ATTRIBUTE, _make(function, id, version))
        return function

    return declare


def as_agent(thing: object, *, id: str | None = None, version: str | None = None) -> Agent:  # noqa: A002
    """Give the agent that a decorated or bare function is, under `id` when given."""
    made = getattr(thing, ATTRIBUTE, None)
    if isinstance(thing, Agent):
        made = thing
    elif made is None and callable(thing):
        made = _make(thing, id, version or "1")
    if not isinstance(made, Agent):
        raise UsageError(f"{thing!r} is not an agent", why="an agent is a function (ctx, message)")
    if id is None and version is None:
        return made
    return Agent(
        id=id or made.id,
        run=made.run,
        is_async=made.is_async,
        version=version or made.version,
        description=made.description,
    )


def _make(function: Callable[..., Any], name: str | None, version: str) -> Agent:
    label = name or str(getattr(function, "__name__", "agent"))
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
    )
