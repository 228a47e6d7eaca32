"""What grows must grow with what was done, not with its square."""

from collections.abc import Callable
from typing import Any

import pytest
from stage import done, repeats  # type: ignore[import-not-found]

from aetheris import Context, Job, Runtime, agent, tool

Start = Callable[..., Runtime]
BRANCHES = 250


@tool(effect="pure")
async def echo(n: int) -> int:
    return n


async def _calls(ctx: Context, branches: int) -> Any:
    return await ctx.gather(*(lambda n=n: ctx.call(echo, n=n) for n in range(branches)))


@agent("two gathers")
async def two_gathers(ctx: Context, message: str) -> int:
    first = await _calls(ctx, int(message))
    return len(first + await _calls(ctx, int(message)))


@agent("a gather of gathers")
async def nested(ctx: Context, message: str) -> int:
    found = await ctx.gather(*(lambda: _calls(ctx, int(message) // 10) for _ in range(10)))
    return len(found + await _calls(ctx, int(message)))


@pytest.mark.parametrize("code", [two_gathers, nested], ids=["two gathers", "nested"])
def test_twice_the_branches_take_twice_the_bytes(start: Start, code: Any) -> None:
    runtime = start(code)
    sizes = []
    for branches in (BRANCHES, 2 * BRANCHES):
        job = done(runtime.submit(code, str(branches)))
        assert job.status == "succeeded"
        assert repeats(runtime, job)
        sizes.append(_bytes(runtime, job))
    assert sizes[1] < 2.5 * sizes[0]


def _bytes(runtime: Runtime, job: Job) -> int:
    """Give the size of a job's stored events."""

    async def look() -> int:
        store = runtime.session.store
        lines = await store.lines((await store.find(job.id)).no, 0, 100_000)
        return sum(len(body) for _, body, _ in lines)

    return runtime.ask(look())
