"""Run one job of an agent in a test: a real store in a temporary folder, a real worker."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from aetheris_cli.agents.python import as_agent
from aetheris_cli.app.registry import CodeRegistry
from aetheris_cli.app.runtime import Job, Runtime
from aetheris_cli.control.shapes import Shape
from aetheris_cli.domain.errors import UsageError
from aetheris_cli.domain.retry import duration_ms


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
    tools: Mapping[str, Callable[..., Any]] | None = None,
    timeout: str | float = "60s",
) -> Ran:
    """Run a job to its end, or until it waits for a person.

    `tools`: by a tool's name, a function to run in its place; the declared effect class, retries
    and limits stay those of the tool. Raises WaitTimedOut.
    """
    made = as_agent(agent)
    with tempfile.TemporaryDirectory(prefix="aetheris-test-") as folder:
        registry = CodeRegistry([made], stand_ins=tools or {})
        with Runtime(f"sqlite:///{Path(folder) / 'jobs.db'}", registry=registry) as runtime:
            job = runtime.submit(made.id, message, input=input)
            return Ran(job.wait(duration_ms(timeout) / 1_000), runtime)
