"""The agent's code itself: called with the context of its colour."""

from typing import Any

from aetheris_cli.engine.context import Context
from aetheris_cli.engine.run import Run
from aetheris_cli.engine.sync_context import SyncContext


async def perform(run: Run) -> Any:  # noqa: ANN401 - the agent's own
    """Call the agent's function, as the first branch of `run`, and give what it returns."""
    submitted = run.history.submitted
    message = submitted.message if submitted is not None else ""
    if run.agent.is_async:
        return await run.agent.run(Context(run), message)
    return await SyncContext(run).drive(run.agent.run, message)
