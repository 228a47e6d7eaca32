"""How jobs end, and what is left of them: open calls, children, code that does not end."""

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
    now_ms,
    parked,
    repeats,
    until,
    until_there,
)

from aetheris import Context, Happened, Retry, Runtime, SyncContext, agent, current_call, tool

Start = Callable[..., Runtime]
MANY = 20_000


@tool(effect="pure")
async def fails() -> None:
    raise ValueError("no")


# --- calls that are open when the code has ended ----------------------------------------------


@pytest.mark.parametrize("end", ["returns", "raises"])
def test_a_job_does_not_end_while_nobody_knows_what_became_of_a_call(
    start: Start, doors: Doors, clock: Moved, end: str
) -> None:
    clock.rolled = 0.8
    probed: list[str] = []
    paid: list[int] = []

    def probe(info: Any) -> Happened:
        probed.append(info.id)
        return Happened({"ok": 1})

    @tool(effect="probe", probe=probe, max_time="0.8s")
    async def charge() -> None:
        raise RuntimeError("reset after the request went out")

    @tool(effect="key", key_ttl="1d", retry=Retry(3, base=1))
    async def pay() -> str:
        paid.append(current_call().attempt)
        if len(paid) == 1:
            raise RuntimeError("reset")
        return "paid"

    @agent("leaves")
    async def leaves(ctx: Context, message: str) -> str:
        ctx.call(charge)
        ctx.call(pay)
        await doors["before the end"].through()
        if message == "raises":
            await ctx.call(fails)
        return "left"

    runtime = start(leaves)
    job = runtime.submit(leaves, end)
    # One waits for its quarantine, the other for its next attempt.
    until_there(runtime, job, "call.retrying", 2)
    doors["before the end"].open()
    assert done(job).status == ("succeeded" if end == "returns" else "failed")
    assert probed == [f"{job.id}.1"]
    assert paid == [1, 2]
    assert [one["state"] for one in job.calls()][:2] == ["succeeded", "succeeded"]
    assert runtime.parked() == []


# --- nothing after the end --------------------------------------------------------------------


def test_nothing_follows_the_end_of_a_job_whose_time_ends_with_that_of_a_wait(
    start: Start, doors: Doors
) -> None:
    @tool(effect="pure")
    async def stay() -> None:
        await doors["in the call"].through()

    @agent("hurries", timeout="0.6s")
    async def hurries(ctx: Context, _message: str) -> Any:
        return await ctx.gather(lambda: ctx.approval("ok?", expires="0.4s"), lambda: ctx.call(stay))

    runtime, other = start(hurries), start(worker=False)
    jobs = [runtime.submit(hurries) for _ in range(6)]
    for job in jobs:
        until_there(other, job, "approval.requested")
    with busy_loop(runtime):
        # Both ends of each are refused, for this; both come back at once.
        for job in jobs:
            other.signal(job.id, "whatever")
        over = now_ms() + 700
        until(lambda: now_ms() > over, "the end of the times")
    for job in jobs:
        assert done(job).error["kind"] == "job_timed_out"
        assert events(runtime, job)[-1]["type"] == "job.failed"
        row = runtime.ask(runtime.session.store.job(job.id))
        assert row.ended_seq == row.seq
        assert repeats(runtime, job)
    assert alive(runtime)


# --- code that does not end when it is told to -------------------------------------------------


def test_an_agent_that_swallows_everything_does_not_spin_when_its_job_parks(
    start: Start,
) -> None:
    turns: list[int] = []

    @agent("stubborn")
    async def stubborn(ctx: Context, _message: str) -> Any:
        for turn in range(MANY):  # for ever, but for the sake of this test
            turns.append(turn)
            try:
                return await ctx.wait_signal("go")
            except:  # noqa: E722, S110 - this is the bad manner
                pass
        return "it spun"

    @agent("good")
    async def good(_ctx: Context, _message: str) -> str:
        return "fine"

    runtime = start(stubborn, good)
    job = parked(runtime.submit(stubborn), "signal")
    assert runtime.submit(good).wait(timeout=60).output == "fine"
    runtime.signal(job.id, "go", 1)
    assert done(job).output == 1
    assert len(turns) < 20
    # What is left of it does not keep the runtime from closing either.
    closed(runtime)


def test_a_plain_agent_that_swallows_everything_does_not_spin_when_its_job_parks(
    start: Start,
) -> None:
    turns: list[int] = []

    @agent("stubborn")
    def stubborn(ctx: SyncContext, _message: str) -> Any:
        for turn in range(MANY):  # for ever, but for the sake of this test
            turns.append(turn)
            try:
                return ctx.wait_signal("go")
            except:  # noqa: E722, S110 - this is the bad manner
                pass
        return "it spun"

    runtime = start(stubborn)
    jobs = [parked(runtime.submit(stubborn), "signal") for _ in range(5)]
    for job in jobs:
        runtime.signal(job.id, "go", 1)
        assert done(job).output == 1
    assert len(turns) < 20 * len(jobs)


# --- cancels ----------------------------------------------------------------------------------


def test_a_call_settled_as_not_happened_is_not_in_doubt_again_when_its_job_is_cancelled(
    start: Start,
) -> None:
    @tool(effect="unsafe")
    async def charge() -> None:
        raise RuntimeError("reset")

    @agent("pays")
    async def pays(ctx: Context, _message: str) -> None:
        await ctx.call(charge)

    runtime = start(pays)
    job = parked(runtime.submit(pays), "in_doubt")
    closed(runtime)
    # Nobody works, so nothing is sent between the answer and the cancel.
    other = start(worker=False)
    other.settle(f"{job.id}.1", did_not_happen=True, reason="asked")
    found = other.job(job.id).cancel("enough")
    assert found.status == "cancelled"
    assert other.parked() == []
    assert len(events(other, found, "call.in_doubt")) == 1


def test_a_cancel_read_with_a_settlement_lets_no_attempt_begin(start: Start, doors: Doors) -> None:
    sent: list[int] = []

    @tool(effect="unsafe")
    async def charge() -> None:
        sent.append(current_call().attempt)
        raise RuntimeError("reset")

    @tool(effect="pure")
    async def stay() -> None:
        await doors["in the call"].through()

    @agent("pays")
    async def pays(ctx: Context, _message: str) -> None:
        await ctx.gather(lambda: ctx.call(charge), lambda: ctx.call(stay))

    runtime, other = start(pays), start(worker=False)
    job = runtime.submit(pays)
    until(other.parked, "the question")
    with busy_loop(runtime):
        other.settle(f"{job.id}.1.0.1", did_not_happen=True, reason="asked")
        other.job(job.id).cancel("enough")
    assert done(job).status == "cancelled"
    assert sent == [1]
    assert len(events(runtime, job, "call.intended")) == 1
    assert runtime.parked() == []


# --- children ---------------------------------------------------------------------------------


def test_the_children_of_a_parent_that_fails_end_with_it(start: Start) -> None:
    sent: list[int] = []

    @tool(effect="unsafe")
    async def charge() -> None:
        sent.append(1)

    @agent("kid")
    async def kid(ctx: Context, _message: str) -> None:
        await ctx.wait_signal("go")
        await ctx.call(charge)

    @agent("parent")
    async def parent(ctx: Context, _message: str) -> Any:
        child = ctx.child("kid")
        await ctx.call(fails)
        return await child

    runtime = start(parent, kid)
    job = done(runtime.submit(parent))
    assert job.status == "failed"
    (child,) = [one for one in runtime.jobs() if one.data["agent"] == "kid"]
    assert done(child).status == "cancelled"
    assert sent == []
    assert repeats(runtime, job)
