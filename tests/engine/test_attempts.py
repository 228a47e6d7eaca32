"""What follows an attempt: when it may be made again, and what its late answer is worth."""

from collections.abc import Callable
from typing import Any

import pytest
from stage import (  # type: ignore[import-not-found]
    Doors,
    Moved,
    alive,
    busy_loop,
    closed,
    done,
    events,
    in_background,
    now_ms,
    parked,
    run_of,
    until,
    until_there,
)

from aetheris import (
    Context,
    DidNotHappen,
    NotSent,
    Retry,
    Runtime,
    Unknown,
    agent,
    current_call,
    tool,
)
from aetheris_cli.engine.worker import Settings

Start = Callable[..., Runtime]
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS


@agent("good")
async def good(_ctx: Context, _message: str) -> str:
    return "fine"


def later(clock: Moved, runtime: Runtime, ms: int) -> None:
    """Let time pass, and let the worker notice."""
    clock.ms += ms

    async def ring() -> None:
        runtime.session.store.ring()

    runtime.ask(ring())


# --- the lifetime of a key --------------------------------------------------------------------


@pytest.mark.parametrize("left_by", ["a park", "a lost worker"])
@pytest.mark.parametrize(("after_ms", "again"), [(10 * MINUTE_MS, True), (2 * HOUR_MS, False)])
def test_a_key_past_its_lifetime_is_never_used_again(
    start: Start, doors: Doors, clock: Moved, left_by: str, after_ms: int, *, again: bool
) -> None:
    clock.rolled = 0.5
    sent: list[int] = []

    @tool(effect="key", key_ttl="1h", retry=Retry(3, base=600, cap=600))
    async def charge() -> str:
        sent.append(current_call().attempt)
        if len(sent) > 1:
            return "charged"
        if left_by == "a lost worker":
            await doors["in the tool"].through()
        raise RuntimeError("reset")

    @agent("pays")
    async def pays(ctx: Context, _message: str) -> Any:
        return await ctx.call(charge)

    runtime = start(pays, settings=Settings(grace_s=0.01))
    job = runtime.submit(pays)
    if left_by == "a park":
        parked(job, "timer")
        later(clock, runtime, after_ms)
    else:
        doors["in the tool"].is_reached()
        closed(runtime)
        doors.open_all()
        clock.ms += after_ms
        job = start(pays).job(job.id)
    if again:
        assert done(job).output == "charged"
        assert sent == [1, 2]
    else:
        parked(job, "in_doubt")
        assert sent == [1]


# --- answers and time-outs --------------------------------------------------------------------


def test_an_answer_that_is_there_when_the_time_is_over_is_never_dropped(
    start: Start, doors: Doors
) -> None:
    answered: list[int] = []

    @tool(effect="unsafe", timeout="0.3s")
    def charge() -> dict[str, str]:
        doors["in the tool"].through_here()
        answered.append(now_ms())
        return {"id": "ch_1"}

    @agent("pays")
    async def pays(ctx: Context, _message: str) -> Any:
        return await ctx.call(charge)

    runtime = start(pays)
    job = runtime.submit(pays)
    doors["in the tool"].is_reached()
    with busy_loop(runtime):
        doors["in the tool"].open()
        until(lambda: answered and now_ms() > answered[0] + 400, "the end of the time")
    assert done(job).output == {"id": "ch_1"}
    assert [one["status"] for one in job.calls()[0]["attempts"]] == ["succeeded"]


def test_after_a_time_out_of_its_own_a_worker_trusts_the_providers_no_even_after_a_park(
    start: Start, doors: Doors, clock: Moved
) -> None:
    sent: list[int] = []

    @tool(
        effect="probe",
        probe=lambda _call: DidNotHappen(),
        timeout="50ms",
        max_time="1h",
        retry=Retry(3),
    )
    async def charge() -> str:
        sent.append(current_call().attempt)
        if len(sent) == 1:
            await doors["in the tool"].through()
        return "charged"

    @agent("pays")
    async def pays(ctx: Context, _message: str) -> Any:
        return await ctx.call(charge)

    runtime = start(pays)
    job = parked(runtime.submit(pays), "timer")
    assert sent == [1]
    later(clock, runtime, 2 * HOUR_MS)
    assert done(job).output == "charged"
    assert sent == [1, 2]


def test_a_late_success_outweighs_a_providers_no(start: Start, doors: Doors) -> None:
    sent: list[int] = []

    @tool(
        effect="probe",
        probe=lambda _call: DidNotHappen(),
        timeout="0.1s",
        max_time="0.9s",
        retry=Retry(3),
    )
    def charge() -> str:
        sent.append(current_call().attempt)
        if len(sent) == 1:
            doors["in the tool"].through_here()
        return "charged"

    @tool(effect="pure")
    async def stay() -> None:
        await doors["beside it"].through()

    @agent("pays")
    async def pays(ctx: Context, _message: str) -> Any:
        return await ctx.gather(lambda: ctx.call(charge), lambda: ctx.call(stay))

    runtime = start(pays)
    job = runtime.submit(pays)
    doors["beside it"].is_reached()
    run = run_of(runtime, job)
    assert run is not None
    until(lambda: run.late, "the end of the first attempt's time")
    doors["in the tool"].open()
    until_there(runtime, job, "call.evidence")
    until(lambda: run.settled or len(sent) > 1, "the probe")
    doors.open_all()
    parked(job, "in_doubt")
    assert sent == [1]
    (open_,) = runtime.parked()
    assert [one["result"] for one in open_["evidence"]] == ["charged"]


@pytest.mark.parametrize("why", ["bad \udcff byte", 7, {"a": object()}])
def test_a_provider_that_does_not_know_may_say_so_in_any_words(start: Start, why: Any) -> None:
    @tool(effect="probe", probe=lambda _call: Unknown(why), max_time="1ms")
    async def charge() -> None:
        raise RuntimeError("reset")

    @agent("pays")
    async def pays(ctx: Context, _message: str) -> Any:
        return await ctx.call(charge)

    runtime = start(pays, good)
    job = parked(runtime.submit(pays), "in_doubt")
    assert runtime.submit(good).wait(timeout=60).output == "fine"
    closed(runtime)
    runtime = start(pays, good)
    parked(runtime.job(job.id), "in_doubt")
    assert alive(runtime)


# --- attempts and people ----------------------------------------------------------------------


@pytest.mark.parametrize("wish", ["pause", "stop"])
def test_no_attempt_begins_once_the_job_is_to_stand_still(
    start: Start, doors: Doors, wish: str
) -> None:
    sent: list[int] = []

    @tool(effect="unsafe", retry=Retry(1_000, base=0))
    async def charge() -> str:
        sent.append(current_call().attempt)
        if doors["resumed"].reached.is_set():
            return "charged"
        await doors["in the tool"].through()
        raise NotSent("connection refused")

    @tool(effect="pure")
    async def stay() -> None:
        await doors["beside it"].through()

    @agent("pays")
    async def pays(ctx: Context, _message: str) -> Any:
        return await ctx.gather(lambda: ctx.call(charge), lambda: ctx.call(stay))

    runtime, other = start(pays), start(worker=False)
    job = other.job(runtime.submit(pays).id)
    doors["in the tool"].is_reached()
    run = run_of(runtime, job)
    assert run is not None
    if wish == "pause":
        runtime.ask(runtime.session.control.pause(job.id))
        stopped = None
    else:
        stopped = in_background(lambda: closed(runtime))
    until(lambda: run.stopping, "the news that the job is to stand still")
    doors["in the tool"].open()
    until_there(other, job, "call.retrying")
    doors["beside it"].open()
    if stopped is None:
        parked(job, "paused")
    else:
        stopped.result(60)
        assert job.refresh().status == "queued"
    assert sent == [1]
    # What has not begun begins when the job goes on.
    doors["resumed"].reached.set()
    if stopped is None:
        runtime.ask(runtime.session.control.resume(job.id))
    else:
        start(pays)
    assert done(job).output == ["charged", None]
    assert sent == [1, 2]


@pytest.mark.parametrize("wait", ["in memory", "parked"])
def test_what_a_person_has_said_of_an_attempt_holds_for_all_that_follow_it(
    start: Start, clock: Moved, wait: str
) -> None:
    clock.rolled = 0.5 if wait == "parked" else 0.0
    sent: list[int] = []

    @tool(effect="unsafe", retry=Retry(4, base=600, factor=1, cap=600))
    async def charge() -> str:
        sent.append(current_call().attempt)
        if len(sent) == 1:
            raise RuntimeError("reset")
        if len(sent) < 4:
            raise NotSent("connection refused")
        return "charged"

    @agent("pays")
    async def pays(ctx: Context, _message: str) -> Any:
        return await ctx.call(charge)

    runtime = start(pays)
    job = parked(runtime.submit(pays), "in_doubt")
    runtime.settle(f"{job.id}.1", did_not_happen=True, reason="asked")
    if wait == "parked":
        for attempts in (2, 3):
            until_there(runtime, job, "call.retrying", attempts - 1)
            parked(job, "timer")
            later(clock, runtime, 10 * MINUTE_MS)
    assert done(job).output == "charged"
    assert sent == [1, 2, 3, 4]
    seen = [one["status"] for one in job.calls()[0]["attempts"]]
    assert seen == ["unknown", "not_sent", "not_sent", "succeeded"]
    assert len(events(runtime, job, "call.in_doubt")) == 1
