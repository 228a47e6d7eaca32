"""What falls into the event loop: ours stops the worker aloud, an agent's does not."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from aetheris import Context, Runtime, agent, tool
from aetheris_cli.domain.states import JOB, IllegalTransition, JobState, advance


@tool(effect="pure")
async def drop(what: str) -> str:
    """Leave something in the loop that raises."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def mine() -> Any:
        raise ValueError("a library's own")

    if what == "ours":
        # Code of the engine that goes wrong with nobody above it.
        loop.call_soon(advance, JOB, JobState.SUCCEEDED, JobState.RUNNING)
    else:
        loop.call_soon(mine)
    loop.call_soon(done.set_result, None)
    await done
    return "dropped"


@agent("drops")
async def drops(ctx: Context, message: str) -> str:
    return await ctx.call(drop, what=message)


def test_an_error_in_a_callback_of_the_engine_stops_the_worker(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with pytest.raises(IllegalTransition), Runtime(url, agents=[drops]) as runtime:
        runtime.submit(drops, "ours").wait()


def test_an_error_in_a_callback_of_a_library_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Runtime(f"sqlite:///{tmp_path / 'store.db'}", agents=[drops]) as runtime:
        assert runtime.submit(drops, "a library's").wait().output == "dropped"
    assert "a library's own" in caplog.text
