"""Run one job of an agent in a test: a real store in a temporary folder, a real worker."""

import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from aetheris_cli.agents.python import as_agent
from aetheris_cli.app.registry import CodeRegistry
from aetheris_cli.app.runtime import Job, Runtime
from aetheris_cli.control.shapes import Shape
from aetheris_cli.domain.errors import UsageError
from aetheris_cli.domain.retry import duration_ms
from aetheris_cli.tools.python import as_tool


class Ran(Job):
    """A job that was run by `run`: its end, or the place at which it waits for a person.

    Its store is gone, so everything is as it was when `run` gave it back.
    """

    def __init__(self, job: Job, runtime: Runtime) -> None:
        super().__init__(runtime, job.data)
        self._steps = job.steps()
        self._calls = job.calls()
        self.waits: list[Shape] = runtime.parked()
        """What waits for a person, as `aetheris parked` shows it."""

    def steps(self) -> list[Shape]:
        """Give the steps with their attempts."""
        return self._steps

    def calls(self) -> list[Shape]:
        """Give the ledger."""
        return self._calls

    def refresh(self) -> Self:
        """Give the job as it is: nothing happens to it any more."""
        return self

    def wait(self, timeout: float | None = None, *, goal: str = "done") -> Self:  # noqa: ARG002
        """Give the job as it is: nothing happens to it any more."""
        return self

    def cancel(self, reason: str = "") -> Self:
        """Refuse. Raises UsageError."""
        raise UsageError(
            f"job {self.id} was run by aetheris.testing.run, and its store is gone",
            why=f"it cannot be cancelled{f' ({reason})' if reason else ''}",
            fix="use Runtime to act on a job while it runs",
        )


def run(
    agent: Any,  # noqa: ANN401 - a function
    message: str = "",
    *,
    input: Any = None,  # noqa: A002, ANN401 - the public name; any JSON
    tools: Mapping[Any, Callable[..., Any]] | None = None,
    agents: Iterable[Any] = (),
    timeout: str | float = "60s",
) -> Ran:
    """Run a job to its end, or until it waits for a person.

    `tools`: by a tool or its name, a function to run in its place; the declared effect class,
    retries and limits stay those of the tool. When it is given, no effect happens for real: a
    call of an effectful tool without a stand-in is the agent's error. `agents`: those that the
    agent starts as children. Raises WaitTimedOut.
    """
    made = as_agent(agent)
    stand_ins = None if tools is None else {_name(key): what for key, what in tools.items()}
    with tempfile.TemporaryDirectory(prefix="aetheris-test-") as folder:
        registry = CodeRegistry([made, *map(as_agent, agents)], stand_ins=stand_ins)
        with Runtime(f"sqlite:///{Path(folder) / 'jobs.db'}", registry=registry) as runtime:
            job = runtime.submit(made.id, message, input=input)
            return Ran(job.wait(duration_ms(timeout) / 1_000), runtime)


def _name(tool: Any) -> str:  # noqa: ANN401 - a tool's name or the tool
    return tool if isinstance(tool, str) else as_tool(tool).name
