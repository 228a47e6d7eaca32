"""The agents and tools of one process, by name."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import msgspec

from aetheris_cli.agents.python import as_agent
from aetheris_cli.domain.errors import NotFound, UsageError
from aetheris_cli.ports.code import Agent, Tool
from aetheris_cli.tools.python import as_tool


class CodeRegistry:
    """Holds what was declared, and takes tools in as agents use them."""

    def __init__(
        self,
        agents: Iterable[Any] = (),
        tools: Iterable[Any] = (),
        *,
        stand_ins: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        self._stand_ins = stand_ins or {}
        """Functions to run in place of tools, by the tools' names."""
        self._strict = stand_ins is not None
        """Whether an effectful tool without a stand-in is refused."""
        self._declared: dict[str, Callable[..., Any]] = {}
        """What the tools that have a stand-in would run."""
        self._agents: dict[str, Agent] = {}
        self._tools: dict[str, Tool] = {}
        for one in agents:
            self.add_agent(as_agent(one))
        for one in tools:
            self.add_tool(as_tool(one))

    def add_agent(self, agent: Agent) -> None:
        """Take an agent in. Raises UsageError when another has its id."""
        if self._agents.setdefault(agent.id, agent) is not agent:
            raise UsageError(f"two agents are called {agent.id}", fix="give one another id")

    def add_tool(self, tool: Tool) -> None:
        """Take a tool in. Raises UsageError when another has its name."""
        stand_in = self._stand_ins.get(tool.name)
        if stand_in is not None and tool.name not in self._tools:
            self._declared[tool.name] = tool.run
            self._tools[tool.name] = msgspec.structs.replace(
                tool, run=stand_in, is_async=inspect.iscoroutinefunction(stand_in)
            )
            return
        if self._strict and stand_in is None and tool.effect.effectful:
            raise UsageError(
                f"tool {tool.name} has effect {tool.effect} and no stand-in here",
                why="a test that names its stand-ins must not reach the world",
                fix=f'tools={{"{tool.name}": function}}',
            )
        if self._tools.setdefault(tool.name, tool) is not tool:
            raise UsageError(
                f"two tools are called {tool.name}",
                why="the ledger names a call by its tool",
                fix="give one another name: @tool(name=…)",
            )

    def agent(self, name: str) -> Agent:
        """Give the agent. Raises NotFound."""
        found = self._agents.get(name)
        if found is None:
            raise _unknown("agent", name, self._agents)
        return found

    def tool(self, tool: object) -> Tool:
        """Give the tool of that name, or the tool that a function is."""
        if isinstance(tool, str):
            found = self._tools.get(tool)
            if found is None:
                raise _unknown("tool", tool, self._tools)
            return found
        made = as_tool(tool)
        # The operator's configuration wins over the declaration.
        known = self._tools.get(made.name)
        if known is None:
            self.add_tool(made)
            return self._tools[made.name]
        if made.run is not self._declared.get(made.name, known.run):
            self.add_tool(made)
        return known

    def agents(self) -> dict[str, Agent]:
        """Give all agents by id."""
        return dict(self._agents)

    def tools(self) -> dict[str, Tool]:
        """Give all tools by name."""
        return dict(self._tools)


def _unknown(what: str, name: str, known: Iterable[str]) -> NotFound:
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    return NotFound(
        f"there is no {what} {name[:80]!r}",
        why=f"known are: {', '.join(names) or 'none'}",
        fix=f"did you mean {near[0]!r}?" if near else f"declare it in agents.yaml under {what}s",
    )
