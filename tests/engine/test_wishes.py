"""What others want of a job, in the moment in which its worker does something else."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stage import (  # type: ignore[import-not-found]
    Doors,
    Moved,
    busy_loop,
    closed,
    done,
    events,
    in_background,
    parked,
    repeats,
    run_of,
    slow_writes,
    stop_soon,
    until,
    until_there,
)

from aetheris import AetherisError, Context, Runtime, agent, tool
from aetheris_cli.domain.errors import Conflict
from aetheris_cli.domain.states import WorkerState
from aetheris_cli.engine.worker import Settings
from aetheris_cli.ports import failpoints

Start = Callable[..., Runtime]


@agent("good")
async def good(_ctx: Context, _message: str) -> str:
    return "fine"


class Held:
    """A failpoint that holds the process, its loop too, until the test lets it go."""

    def __init__(self, folder: Path) -> None:
        self._gate = folder / "gate"

    def at(self, name: str) -> None:
        failpoints.arm(f"{name}:1@{self._gate}")

    def is_reached(self) -> None:
        until(self._gate.with_suffix(".reached").exists, "the failpoint")

    def go(self) -> None:
        self._gate.with_suffix(".go").touch()


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    found = Held(tmp_path)
    yield found
    found.go()
    failpoints._armed.clear()  # noqa: SLF001 - a test that failed may have left it


# --- a cancel that is acknowledged is never lost ----------------------------------------------


@pytest.mark.parametrize("ends_by", ["a stop", "the loss of its lease"])
def test_a_cancel_that_meets_the_end_of_the_jobs_worker_is_not_lost(
    start: Start, clock: Moved, ends_by: str
) -> None:
    sent: list[int] = []

    @tool(effect="unsafe")
    async def charge() -> None:
        sent.append(1)

    @agent("pays")
    async def pays(ctx: Context, _message: str) -> None:
        await ctx.sleep("0.5s")  # so short that the job keeps its worker
        await ctx.call(charge)

    clock.stand()
    runtime, other = start(pays), start(worker=False)
    jobs = [other.job(runtime.submit(pays).id) for _ in range(5)]
    for job in jobs:
        until_there(other, job, "timer.set")
    with busy_loop(runtime):
        for job in jobs:
            assert job.cancel("enough").status == "running"  # it is acknowledged, and not read
        if ends_by == "a stop":
            stop_soon(runtime)
        else:
            store = other.session.store
            worker = jobs[0].data["worker"]
            other.ask(store.end_worker(worker, WorkerState.LOST, clock.now_ms()))
    clock.go_on()
    if ends_by == "a stop":
        closed(runtime)
    for job in jobs:
        assert job.refresh().status == "cancelled"
        with pytest.raises(Conflict, match="cancelled"):
            other.signal(job.id, "go")
    assert sent == []


# --- what meets the end of a run --------------------------------------------------------------


@pytest.mark.parametrize("end", ["end", "park"])
def test_a_signal_that_meets_the_last_change_of_a_run_stops_nobody(
    start: Start, doors: Doors, held: Held, end: str
) -> None:
    @tool(effect="pure")
    async def stay() -> None:
        await doors["in the tool"].through()

    @agent("leaves")
    async def leaves(ctx: Context, message: str) -> str:
        if message == "end":
            ctx.wait_signal("x")  # nobody awaits it any more
            await ctx.call(stay)
        else:
            await ctx.gather(lambda: ctx.wait_signal("x"), lambda: ctx.call(stay))
        return "left"

    runtime, other = start(leaves, good), start(worker=False)
    job = other.job(runtime.submit(leaves, end).id)
    doors["in the tool"].is_reached()
    held.at(f"{end}.before_commit")
    if end == "park":
        other.ask(other.session.control.pause(job.id))
        run = run_of(runtime, job)
        until(lambda: run is None or run.stopping, "the pause")
    doors["in the tool"].open()
    held.is_reached()
    other.signal(job.id, "x", 1)
    held.go()
    if end == "park":
        parked(job, "paused")
        other.ask(other.session.control.resume(job.id))
    assert done(job).output == "left"
    assert runtime.submit(good).wait(timeout=60).output == "fine"
    assert repeats(runtime, job)


# --- what has arrived keeps its place ---------------------------------------------------------


def test_a_signal_names_the_place_where_it_was_received_wherever_that_has_moved(
    start: Start, doors: Doors
) -> None:
    got: list[Any] = []

    @tool(effect="unsafe")
    async def send() -> str:
        return "sent"

    @agent("listens")
    async def listens(ctx: Context, _message: str) -> Any:
        async def take() -> None:
            while len(got) < 3:
                got.append(await ctx.wait_signal("x"))

        async def effect() -> Any:
            await doors["before the effect"].through()
            return await ctx.call(send)

        got.clear()
        await ctx.gather(take, effect)
        await ctx.approval("again?")
        return got

    runtime, other = start(listens), start(worker=False)
    job = runtime.submit(listens)
    until_there(runtime, job, "signal.awaited")
    doors["before the effect"].is_reached()
    run = run_of(runtime, job)
    assert run is not None
    with slow_writes(runtime):
        doors["before the effect"].open()
        until(lambda: "1.1.1" in run.history.steps, "the intent")
        # The intent does not know of these. It comes back, and what follows it moves.
        for n in range(3):
            other.signal(job.id, "x", n)
        until(lambda: len(got) == 3, "the signals")
    parked(job, "approval")
    found = {one["seq"]: one for one in events(runtime, job)}
    consumed = [one for one in found.values() if one["type"] == "signal.consumed"]
    received = [found[one["data"]["received"]] for one in consumed]
    assert [one["type"] for one in received] == ["signal.received"] * 3
    assert [one["data"]["value"] for one in received] == [0, 1, 2]
    for one in found.values():
        assert one["cause"] is None or one["cause"] < one["seq"]
    runtime.approve(job.id)
    assert done(job).output == [0, 1, 2]
    assert repeats(runtime, job)


# --- slips that come to light late ------------------------------------------------------------


def test_a_child_of_an_agent_that_does_not_exist_is_its_parents_error_whenever_it_is_asked_for(
    start: Start,
) -> None:
    @agent("slips")
    async def slips(ctx: Context, _message: str) -> Any:
        async def ask() -> str:
            await ctx.approval("one")
            try:
                await ctx.child("typo", "x")
            except AetherisError as error:
                return str(error)
            return "there is such an agent"

        async def other() -> bool:
            return (await ctx.approval("two")).approved

        return await ctx.gather(ask, other)

    runtime = start(slips, good)
    job = parked(runtime.submit(slips), "approval")
    closed(runtime)
    looking = start(worker=False)
    for asked in looking.parked():
        looking.approve(asked["approval_id"])
    runtime = start(slips, good)
    found = done(runtime.job(job.id))
    assert found.status == "succeeded"
    assert "there is no agent 'typo'" in found.output[0]
    assert runtime.submit(good).wait(timeout=60).output == "fine"


# --- pauses -----------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["in the call", "after the call"])
def test_a_pause_is_carried_out_although_a_branch_awaits_something_of_its_own(
    start: Start, doors: Doors, when: str
) -> None:
    @tool(effect="pure")
    async def stay() -> None:
        await doors["in the tool"].through()

    @agent("awaits")
    async def awaits(ctx: Context, _message: str) -> Any:
        return await ctx.gather(lambda: ctx.call(stay), doors["of its own"].through)

    runtime = start(awaits, settings=Settings(grace_s=5))
    job = runtime.submit(awaits)
    doors["in the tool"].is_reached()
    doors["of its own"].is_reached()
    run = run_of(runtime, job)
    assert run is not None
    if when == "after the call":
        doors["in the tool"].open()
        until(lambda: not run.in_flight, "the end of the call")
    runtime.ask(runtime.session.control.pause(job.id))
    until(lambda: run.stopping, "the pause")
    doors["in the tool"].open()
    parked(job, "paused")
    doors.open_all()
    runtime.ask(runtime.session.control.resume(job.id))
    assert done(job).output == [None, None]


# --- what an agent asks of its own runtime ----------------------------------------------------


def test_an_async_agent_that_asks_its_own_runtime_is_told_so_in_words(url: str) -> None:
    @agent("asks")
    async def asks(_ctx: Context, _message: str) -> str:
        return runtime.submit("good").id

    runtime = Runtime(url, [asks, good])
    runtime.__enter__()
    # If it waited for itself, so would all that asks it.
    found = in_background(lambda: runtime.submit(asks).wait(timeout=60)).result(60)
    assert found.status == "failed"
    assert "from its own event loop" in found.error["message"]
    assert runtime.jobs()[0].id == found.id
    closed(runtime)
