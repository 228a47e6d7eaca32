"""What a job leaves in memory is gone when the job is: no circle waits for the collector."""

import gc
from collections import Counter
from pathlib import Path

import pytest

from aetheris import Context, Runtime, agent, tool

JOBS = 20


@tool(effect="unsafe")
async def charge(order: str) -> str:
    """Charge."""
    return order


@tool(effect="pure")
def look(order: str) -> str:
    """Look."""
    return order


@agent("worker-of-all-kinds")
async def mixed(ctx: Context, message: str) -> str:
    await ctx.gather(*(lambda: ctx.call(charge, order=message) for _ in range(2)))
    await ctx.checkpoint()
    return await ctx.call(look, order=message)


@agent("plain")
def plain(ctx: Context, message: str) -> str:
    return ctx.call(charge, order=message)


@pytest.mark.parametrize("one", [mixed, plain], ids=["async", "plain"])
def test_a_finished_job_leaves_no_circles(tmp_path: Path, one: object) -> None:
    with Runtime(f"sqlite:///{tmp_path / 'store.db'}", agents=[one]) as runtime:
        runtime.submit(one, "first").wait()
        gc.collect()
        gc.disable()
        gc.freeze()  # what earlier tests have left behind is not looked at
        try:
            for n in range(JOBS):
                assert runtime.submit(one, str(n)).wait().output == str(n)
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            found = Counter(
                type(thing).__qualname__
                for thing in gc.garbage
                if type(thing).__module__.startswith("aetheris_cli.")
            )
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.unfreeze()
            gc.enable()
    # One is allowed to be on its way out at the moment of looking.
    assert {name: n for name, n in found.items() if n > 1} == {}
