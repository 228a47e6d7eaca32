"""A store with something of everything in it, and who is who there."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

from msgspec import Raw
from scene import claim, submit, worker  # type: ignore[import-not-found]

from aetheris import (
    CallFailed,
    Context,
    Job,
    NotSent,
    Refused,
    Retry,
    Runtime,
    agent,
    current_call,
    tool,
)
from aetheris_cli.domain import wishes
from aetheris_cli.store.sqlstore import SqlStore

LARGE = "large " * 8_000
Cast = dict[str, str]
"""The ids of the jobs, by the parts that they play."""


_gate = threading.Event()
"""Lets the thread of a call that was given up come to its end."""


@tool(effect="pure")
def shout(text: str) -> str:
    return text.upper()


@tool(effect="pure", retry=Retry(3, base=3_600))
def comes_later() -> None:
    raise NotSent("not now")


@tool(effect="unsafe")
def charge(order: str) -> dict[str, Any]:
    if order.startswith("lost"):
        raise ConnectionError("the line is dead")
    if order == "refused":
        raise Refused("no money")
    return {"order": order}


@tool(effect="unsafe", timeout="50ms")
def hangs() -> str:
    if current_call().attempt == 1:
        _gate.wait(60)
    return "it happened"


@agent("echo")
async def echo(ctx: Context, message: str) -> Any:
    ctx.log("begun", chars=len(message))
    return await ctx.call(shout, text=message)


@agent("fails")
async def fails(_ctx: Context, message: str) -> Any:
    raise ValueError(message)


@agent("asks")
async def asks(ctx: Context, message: str) -> Any:
    decision = await ctx.approval("go on?", details={"why": message}, role="boss", expires="1d")
    return decision.approved


@agent("charges")
async def charges(ctx: Context, message: str) -> Any:
    return await ctx.call(charge, order=message)


@agent("pays")
async def pays(ctx: Context, message: str) -> Any:
    try:
        return await ctx.call(charge, key=f"key:{message}", order=message)
    except CallFailed as error:
        return str(error)


@agent("listens")
async def listens(ctx: Context, _message: str) -> Any:
    return await ctx.gather(
        lambda: ctx.wait_signal("go"), lambda: ctx.wait_signal("end", timeout="1h")
    )


@agent("sleeps")
async def sleeps(ctx: Context, message: str) -> Any:
    await ctx.sleep(message)
    return str(ctx.now())


@agent("retries")
async def retries(ctx: Context, _message: str) -> Any:
    return await ctx.call(comes_later)


@agent("parent")
async def parent(ctx: Context, message: str) -> Any:
    try:
        return await ctx.child(*message.split())
    except CallFailed as error:
        return str(error)


@agent("hung")
async def hung(ctx: Context, _message: str) -> Any:
    return await ctx.call(hangs)


AGENTS = [echo, fails, asks, charges, pays, listens, sleeps, retries, parent, hung]


def build(path: Path) -> Cast:
    """Play all parts in a new store."""
    url = f"sqlite:///{path}"
    cast: dict[str, Job] = {}
    _gate.clear()
    try:
        with Runtime(url, AGENTS) as runtime:
            _ends(runtime, cast)
            _waits(runtime, cast)
            _doubts(runtime, cast)
    finally:
        _gate.set()
    _diverges(url, cast)
    names = {part: job.id for part, job in cast.items()}
    return names | asyncio.run(_owned(url))


def _ends(runtime: Runtime, cast: dict[str, Job]) -> None:
    cast["done"] = runtime.submit(
        "echo", "hello", key="once", labels={"team": "a", "of": ""}, priority=3, input={"a": 1}
    )
    cast["large"] = runtime.submit("echo", LARGE, input=LARGE)
    cast["failed"] = runtime.submit("fails", "no")
    cast["refused"] = runtime.submit("charges", "refused")
    cast["paid"] = runtime.submit("pays", "42")
    cast["copied"] = runtime.submit("pays", "42")
    cast["slept"] = runtime.submit("sleeps", "1ms")
    cast["parent"] = runtime.submit("parent", "echo hi")
    cast["parent of failed"] = runtime.submit("parent", "fails hi")
    for job in cast.values():
        job.wait(60)
    control = runtime.session.control
    again = runtime.ask(control.retry(cast["failed"].id))
    cast["retry"] = runtime.job(again.id).wait(60)
    cast["cancelled"] = runtime.submit("asks", "cancel me").wait(60, goal="parked")
    cast["cancelled"].cancel("too late")
    cast["approved"] = runtime.submit("asks", "yes").wait(60, goal="parked")
    runtime.approve(cast["approved"].id, edit={"large": LARGE}, comment="fine")
    cast["approved"].wait(60)
    cast["signalled"] = runtime.submit("listens")
    runtime.signal(cast["signalled"].id, "end", LARGE, key="k1")
    runtime.signal(cast["signalled"].id, "go", {"a": [1, None]})
    cast["signalled"].wait(60)


def _waits(runtime: Runtime, cast: dict[str, Job]) -> None:
    control = runtime.session.control
    cast["delayed"] = runtime.submit("echo", "later", delay="1h")
    runtime.signal(cast["delayed"].id, "early")
    cast["asks"] = runtime.submit("asks", "really?").wait(60, goal="parked")
    cast["asks much"] = runtime.submit("asks", LARGE).wait(60, goal="parked")
    cast["listens"] = runtime.submit("listens").wait(60, goal="parked")
    cast["sleeps"] = runtime.submit("sleeps", "1h").wait(60, goal="parked")
    cast["retries"] = runtime.submit("retries").wait(60, goal="parked")
    cast["waits for child"] = runtime.submit("parent", "sleeps 2h").wait(60, goal="parked")
    cast["paused"] = runtime.submit("asks", "pause me").wait(60, goal="parked")
    runtime.ask(control.pause(cast["paused"].id))
    cast["resumed"] = runtime.submit("asks", "stop and go").wait(60, goal="parked")
    runtime.ask(control.pause(cast["resumed"].id))
    runtime.ask(control.resume(cast["resumed"].id))
    cast["resumed"].wait(60, goal="parked")


def _doubts(runtime: Runtime, cast: dict[str, Job]) -> None:
    def lost(part: str, by: str = "charges") -> Job:
        cast[part] = runtime.submit(by, "lost").wait(60)
        return cast[part]

    lost("in doubt")
    runtime.settle(f"{lost('happened').id}.1", happened={"ok": 1}, reason="saw")
    runtime.settle(f"{lost('failed in doubt').id}.1", fail=True, reason="no more")
    for _ in range(2):
        again = lost("in doubt twice") if "in doubt twice" not in cast else cast["in doubt twice"]
        runtime.settle(f"{again.id}.1", did_not_happen=True, reason="I looked")
        again.wait(60)
    lost("cancelled in doubt").cancel()
    lost("holds key", "pays")
    cast["waits for key"] = runtime.submit("pays", "lost").wait(60, goal="parked")
    cast["held key"] = runtime.submit("pays", "lost again").wait(60)
    cast["freed"] = runtime.submit("pays", "lost again").wait(60, goal="parked")
    runtime.settle(f"{cast['held key'].id}.1", happened="it did", reason="asked")
    cast["freed"].wait(60)
    cast["hung"] = runtime.submit("hung").wait(60)
    runtime.settle(f"{cast['hung'].id}.1", fail=True, reason="forget it")
    alarm = cast["alarm"] = runtime.submit("hung").wait(60)
    runtime.settle(f"{alarm.id}.1", did_not_happen=True, reason="surely")
    alarm.wait(60)
    _gate.set()
    end = time.monotonic() + 60
    while not any(one["kind"] == "contradicted" for one in runtime.parked()):
        assert time.monotonic() < end  # a bound on a test that fails
        time.sleep(0.01)


def _diverges(url: str, cast: dict[str, Job]) -> None:
    @agent("asks")
    async def asks(ctx: Context, message: str) -> Any:
        return await ctx.call(shout, text=message)

    with Runtime(url, worker=False) as runtime:
        cast["diverged"] = runtime.submit("asks", "change me")
    with Runtime(url, AGENTS) as runtime:
        runtime.job(cast["diverged"].id).wait(60, goal="parked")
        runtime.ask(runtime.session.control.pause(cast["diverged"].id))
    with Runtime(url, [asks]) as runtime:
        runtime.ask(runtime.session.control.resume(cast["diverged"].id))
        runtime.job(cast["diverged"].id).wait(60)


async def _owned(url: str) -> Cast:
    """Let a worker own a job, with something in its inbox that it has not read."""
    store = SqlStore.open(url)
    try:
        await worker(store, "wrk_owner")
        await submit(store, "owned")
        assert [one.row.id for one in await claim(store, "wrk_owner")] == ["job_owned"]
        await store.deliver(wishes.signal("job_owned", "go", Raw(b"1"), "me"), 2_000)
        await store.deliver(wishes.pause("job_owned", "me"), 2_001)
    finally:
        await store.close()
    return {"owned": "job_owned"}
