"""The agents of the benchmarks, and the load: `python -m benchmarks.agents URL`."""

import asyncio
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from aetheris import agent, current_call, tool


@tool(effect="pure")
def hold(place: str) -> float:
    """Hold the first process that comes here; the next one gives the time at once."""
    mark = Path(place)
    if mark.exists():
        return time.time()
    draft = mark.with_suffix(".draft")
    draft.write_text(str(os.getpid()))
    draft.rename(mark)
    threading.Event().wait()  # until the kill
    return 0.0


@tool(effect="pure")
async def stamp() -> float:
    """Give the time."""
    return time.time()


@tool(effect="unsafe")
async def step(n: int) -> int:
    """Do nothing, with a durable intent."""
    return n


@tool(effect="unsafe")
def note(log: str) -> None:
    """Leave one line for each effect."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, (json.dumps({"call": current_call().id}) + "\n").encode())
    os.close(descriptor)


@agent("notes")
async def notes(ctx: Any, log: str) -> None:
    """Look three times in parallel, then leave a note."""
    await ctx.gather(*(lambda: ctx.call(stamp) for _ in range(3)))
    await ctx.call(note, log=log)


@agent("held")
async def held(ctx: Any, place: str) -> float:
    """Come to a step that holds its process."""
    found: float = await ctx.call(hold, place=place)
    return found


@agent("asks")
async def asks(ctx: Any, _message: str) -> float:
    """Ask, and give the time at which the step after the answer begins."""
    await ctx.approval("go on?")
    found: float = await ctx.call(stamp)
    return found


@agent("listens")
async def listens(ctx: Any, _message: str) -> float:
    """Wait for a signal, and give the time at which the step after it begins."""
    await ctx.wait_signal("go")
    found: float = await ctx.call(stamp)
    return found


@agent("busy")
async def busy(ctx: Any, _message: str) -> None:
    """Do ten steps."""
    for n in range(10):
        await ctx.call(step, n=n)


async def load(url: str) -> None:
    """Run jobs, four at a time, until this process is killed."""
    from aetheris_cli.app.registry import CodeRegistry
    from aetheris_cli.app.session import opened
    from aetheris_cli.engine.worker import Settings

    async with opened(url, CodeRegistry([busy]), create=True) as session:
        worker = session.worker(Settings(concurrency=4))
        await worker.begin()
        room = asyncio.Semaphore(4)
        worker.on_over = lambda _job: room.release()
        serving = asyncio.create_task(worker.serve())
        while not serving.done():
            await room.acquire()
            await session.control.submit(session.control.new_job("busy", "x"))


if __name__ == "__main__":
    asyncio.run(load(sys.argv[1]))
