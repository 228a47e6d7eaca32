"""Agents: branches, both colours, recorded facts, cancel, pause, retry, and bad manners."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aetheris import AetherisError, CallFailed, Context, Runtime, SyncContext, agent, tool
from aetheris_cli.engine.replay import replay


class Gates:
    """What a test and the code of its agents tell each other, across threads."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()
        self.seen: list[Any] = []


gates = Gates()


@pytest.fixture(autouse=True)
def _fresh() -> None:
    gates.__init__()  # type: ignore[misc]


@tool(effect="pure")
async def double(n: int) -> int:
    if n < 0:
        raise ValueError(f"{n} is negative")
    return 2 * n


@tool(effect="pure")
def hold() -> str:
    gates.begun.set()
    gates.go.wait(60)
    return "held"


@tool(effect="unsafe")
async def endless() -> None:
    gates.begun.set()
    try:
        await asyncio.Event().wait()
    finally:
        gates.seen.append("the tool was cancelled")


@agent("branches")
async def branches(ctx: Context, _message: str) -> Any:
    async def inner(n: int) -> Any:
        return await ctx.gather(*(lambda i=i: ctx.call(double, n=10 * n + i) for i in range(2)))

    return await ctx.gather(*(lambda n=n: inner(n) for n in range(3)), limit=2)


@agent("one_fails")
async def one_fails(ctx: Context, _message: str) -> str:
    try:
        await ctx.gather(*(lambda n=n: ctx.call(double, n=n) for n in (1, -2, 3, -4)))
    except CallFailed as error:
        return str(error)
    return "no error"


@agent("plain")
def plain(ctx: SyncContext, message: str) -> Any:
    found = ctx.gather(*(lambda n=n: ctx.call(double, n=n) for n in range(3)))
    ctx.sleep("1ms")
    ctx.log("after a nap", found=found)
    ctx.checkpoint()
    return [message, found, ctx.now().tzinfo is not None, len(str(ctx.uuid()))]


@agent("foreign")
async def foreign(ctx: Context, _message: str) -> list[str]:
    async def elsewhere() -> str:
        try:
            await ctx.call(double, n=1)
        except AetherisError as error:
            return type(error).__name__
        return "nothing was raised"

    in_task = await asyncio.create_task(elsewhere())

    def in_thread() -> str:
        try:
            ctx.call(double, n=1)
        except AetherisError as error:
            return type(error).__name__
        return "nothing was raised"

    return [in_task, await asyncio.to_thread(in_thread)]


@agent("facts")
async def facts(ctx: Context, _message: str) -> Any:
    first = [str(ctx.now()), ctx.random().random(), str(ctx.uuid()), ctx.patched("a")]
    gates.seen.append(first)
    await ctx.approval("look again?")
    return [first, ctx.input, ctx.labels]


@tool(effect="unsafe")
def send(n: int) -> int:
    return n * 2


@agent("holds")
async def holds(ctx: Context, _message: str) -> Any:
    first = await ctx.call(hold)
    return [first, await ctx.call(send, n=4)]


@agent("never_ends")
async def never_ends(ctx: Context, _message: str) -> None:
    await ctx.call(endless)


async def _returns_nan(_ctx: Context, _message: str) -> Any:
    return float("nan")


async def _raises(_ctx: Context, _message: str) -> Any:
    raise ValueError("no \ud800 luck")


async def _exits(_ctx: Context, _message: str) -> Any:
    raise SystemExit(7)


async def _cancels_itself(_ctx: Context, _message: str) -> Any:
    raise asyncio.CancelledError


BAD = {
    "returns_nan": _returns_nan,
    "raises": _raises,
    "cancels_itself": _cancels_itself,
    "exits": _exits,
}


@agent("slow", timeout="0.2s")
async def slow(ctx: Context, message: str) -> None:
    if message == "asks":
        await ctx.approval("go on?")
    elif message == "child":
        await ctx.child("holds")
    else:
        await ctx.call(endless)


AGENTS = [
    slow, branches, one_fails, plain, foreign, facts, holds, never_ends,
    *(agent(name)(code) for name, code in BAD.items()),
]  # fmt: skip


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    with Runtime(f"sqlite:///{tmp_path / 'jobs.db'}", AGENTS) as found:
        yield found
        gates.go.set()


def test_branches_give_their_results_in_order(runtime: Runtime) -> None:
    job = runtime.submit(branches).wait(timeout=60)
    assert job.output == [[0, 2], [20, 22], [40, 42]]
    assert {one["id"] for one in job.steps()} == {
        f"1.{n}.1.{i}.1" for n in range(3) for i in (0, 1)
    }


def test_all_branches_end_before_the_first_error_is_raised(runtime: Runtime) -> None:
    job = runtime.submit(one_fails).wait(timeout=60)
    assert "-2 is negative" in job.output
    assert len(job.calls()) == 4
    assert all(one["state"] in {"succeeded", "failed"} for one in job.calls())


def test_a_plain_agent_has_the_same_names(runtime: Runtime) -> None:
    assert runtime.submit(plain, "hi").wait(timeout=60).output == ["hi", [0, 2, 4], True, 36]


def test_the_context_is_refused_outside_of_the_jobs_branches(runtime: Runtime) -> None:
    assert runtime.submit(foreign).wait(timeout=60).output == ["UsageError", "UsageError"]


def test_what_a_job_learns_of_time_and_chance_is_the_same_after_a_resume(runtime: Runtime) -> None:
    job = runtime.submit(facts, input={"a": 1}, labels={"team": "x"}).wait()
    runtime.approve(job.id)
    output = job.wait(goal="step:4").wait(timeout=60).output
    assert len(gates.seen) == 2
    assert gates.seen[0] == gates.seen[1] == output[0]
    assert output[1:] == [{"a": 1}, {"team": "x"}]


def test_a_cancel_reaches_a_running_step_and_leaves_its_effect_in_doubt(runtime: Runtime) -> None:
    job = runtime.submit(never_ends)
    assert gates.begun.wait(60)
    job.cancel("enough")
    assert job.wait(timeout=60).status == "cancelled"
    assert gates.seen == ["the tool was cancelled"]
    (open_,) = runtime.parked()
    assert (open_["kind"], open_["job_id"]) == ("in_doubt", job.id)
    runtime.settle(open_["call_id"], did_not_happen=True, reason="looked")
    assert runtime.parked() == []
    assert job.calls()[0]["state"] == "failed"
    assert job.refresh().status == "cancelled"


def test_a_paused_job_stops_where_nothing_is_in_flight_and_resumes(runtime: Runtime) -> None:
    job = runtime.submit(holds)
    assert gates.begun.wait(60)
    control = runtime.session.control
    runtime.ask(control.pause(job.id))
    gates.go.set()
    parked = job.wait(goal="parked", timeout=60)
    assert (parked.status, parked.parked["reason"]) == ("parked", "paused")
    assert len(job.calls()) == 1
    runtime.ask(control.resume(job.id))
    assert job.wait(goal="step:2", timeout=60).wait(timeout=60).output == ["held", 8]


def test_a_running_job_can_be_resumed_only_after_it_was_told_to_pause(runtime: Runtime) -> None:
    job = runtime.submit(holds)
    assert gates.begun.wait(60)
    control = runtime.session.control
    with pytest.raises(AetherisError, match="is running"):
        runtime.ask(control.resume(job.id))
    runtime.ask(control.pause(job.id))
    runtime.ask(control.resume(job.id))
    with pytest.raises(AetherisError, match="is running"):
        runtime.ask(control.resume(job.id))
    gates.go.set()
    assert job.wait(timeout=60).status == "succeeded"


def test_retry_makes_a_new_job_from_the_same_input(runtime: Runtime) -> None:
    job = runtime.submit("raises", "m", input=[1], labels={"a": "b"}).wait(timeout=60)
    assert job.status == "failed"
    control = runtime.session.control
    again = runtime.ask(control.retry(job.id))
    found = runtime.job(again.id).wait(timeout=60)
    assert found.id != job.id
    assert found.data["retry_of"] == job.id
    assert (found.data["input"], found.data["labels"]) == ([1], {"a": "b"})


@pytest.mark.parametrize("name", BAD)
def test_an_agent_with_bad_manners_fails_its_job_alone(runtime: Runtime, name: str) -> None:
    job = runtime.submit(name).wait(timeout=60)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["message"]
    assert runtime.submit(branches).wait(timeout=60).status == "succeeded"


def test_a_worker_that_stops_gives_its_jobs_back_and_another_goes_on(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    with Runtime(url, AGENTS) as runtime:
        job = runtime.submit(holds)
        assert gates.begun.wait(60)
        threading.Timer(0.05, gates.go.set).start()
    with Runtime(url, AGENTS) as runtime:
        found = runtime.job(job.id).wait(timeout=60)
        assert found.output == ["held", 8]
        # The call in flight was let end: it was made once.
        assert len(found.calls()[0]["attempts"]) == 1


@pytest.mark.parametrize("message", ["asks", "child", "calls"])
def test_a_job_whose_time_is_over_fails_wherever_it_is(runtime: Runtime, message: str) -> None:
    job = runtime.submit("slow", message).wait(goal="step:9", timeout=60)
    assert (job.status, job.error["kind"]) == ("failed", "job_timed_out")
    open_ = [one["kind"] for one in runtime.parked()]
    assert open_ == (["in_doubt"] if message == "calls" else [])
    if message == "child":
        (child,) = [one for one in runtime.jobs() if one.id != job.id]
        assert child.wait(timeout=60).status == "cancelled"
    assert runtime.ask(replay_of(runtime, job.id)).matched


async def replay_of(runtime: Runtime, job: str) -> Any:
    session = runtime.session
    row = await session.store.find(job)
    events = await session.store.events(row.no)
    agent = session.registry.agent(row.agent)
    return await replay(agent, row, events, session.registry, session.clock)
