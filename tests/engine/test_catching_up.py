"""Code that is run again over its history, and what arrives, ends or has changed meanwhile."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from stage import (  # type: ignore[import-not-found]
    Doors,
    alive,
    busy_loop,
    closed,
    done,
    events,
    parked,
    repeats,
    run_of,
    slow_reads,
    until,
    until_there,
)

from aetheris import Context, Runtime, SyncContext, TimedOut, agent, current_call, tool
from aetheris_cli.engine.worker import Settings

Start = Callable[..., Runtime]

VERDICTS: Any = {
    "happened": {"happened": {"paid": 1}},
    "did_not_happen": {"did_not_happen": True},
    "fail": {"fail": True},
}


@tool(effect="pure")
async def echo(what: Any) -> Any:
    return what


# --- what arrives before the code has come to its place ---------------------------------------


@pytest.mark.parametrize(
    ("verdict", "status", "sent"),
    [
        ("happened", "succeeded", [1]),
        ("fail", "failed", [1]),
        ("did_not_happen", "succeeded", [1, 2]),
    ],
)
def test_a_call_settled_while_the_code_catches_up_is_what_the_person_said(
    start: Start, doors: Doors, verdict: str, status: str, sent: list[int]
) -> None:
    attempts: list[int] = []

    @tool(effect="unsafe")
    async def charge() -> Any:
        attempts.append(current_call().attempt)
        if len(attempts) == 1:
            raise RuntimeError("connection reset")
        return {"paid": 2}

    @agent("pays_and_asks")
    async def pays_and_asks(ctx: Context, _message: str) -> Any:
        async def ask() -> bool:
            await doors["before the question"].through()
            return (await ctx.approval("ok?")).approved

        return await ctx.gather(lambda: ctx.call(charge), ask)

    doors["before the question"].open()
    runtime = start(pays_and_asks)
    job = parked(runtime.submit(pays_and_asks), "in_doubt")
    until_there(runtime, job, "approval.requested")
    door = doors["before the question"].close()
    runtime.approve(job.id)
    door.is_reached()
    runtime.settle(f"{job.id}.1.0.1", **VERDICTS[verdict], reason="asked")
    until_there(runtime, job, "call.settled")
    door.open()
    assert done(job).status == status
    assert attempts == sent
    assert len(events(runtime, job, "call.intended")) == len(sent)
    if status == "succeeded":
        assert job.output == [{"paid": len(sent)}, True]
    assert repeats(runtime, job)


def test_an_answer_that_comes_before_its_question_is_asked_again_is_given(
    start: Start, doors: Doors
) -> None:
    @agent("two_questions")
    async def two_questions(ctx: Context, _message: str) -> Any:
        await doors["at the start"].through()

        async def ask(title: str) -> bool:
            return (await ctx.approval(title)).approved

        return await ctx.gather(lambda: ask("one"), lambda: ask("two"))

    doors["at the start"].open()
    runtime = start(two_questions)
    job = parked(runtime.submit(two_questions), "approval")
    one, two = (asked["approval_id"] for asked in runtime.parked())
    door = doors["at the start"].close()
    runtime.approve(one)
    door.is_reached()
    runtime.reject(two, reason="no")
    until_there(runtime, job, "approval.decided", 2)
    door.open()
    assert done(job).output == [True, False]
    assert repeats(runtime, job)


@pytest.mark.parametrize("colour", ["plain", "async"])
def test_children_that_end_while_their_parent_catches_up_are_all_heard(
    start: Start, doors: Doors, colour: str
) -> None:
    @agent("kid")
    async def kid(ctx: Context, message: str) -> str:
        await ctx.wait_signal("end")
        return message

    def family(ctx: Any) -> list[Any]:
        return [lambda n=n: ctx.child("kid", str(n)) for n in range(4)]

    @agent("async")
    async def in_the_loop(ctx: Context, _message: str) -> Any:
        await ctx.call(echo, what=1)
        await doors["before the children"].through()
        return await ctx.gather(*family(ctx))

    @agent("plain")
    def in_a_thread(ctx: SyncContext, _message: str) -> Any:
        ctx.call(echo, what=1)
        doors["before the children"].through_here()
        return ctx.gather(*family(ctx))

    doors["before the children"].open()
    runtime = start(in_the_loop, in_a_thread, kid)
    job = parked(runtime.submit(colour), "child")
    kids = [one for one in runtime.jobs() if one.data["agent"] == "kid"]
    for one in kids:
        parked(one, "signal")
    door = doors["before the children"].close()
    for n, one in enumerate(kids, 1):
        runtime.signal(one.id, "end")
        until_there(runtime, job, "child.finished", n)
        door.is_reached()  # the first has woken the parent; the others find it on its way
    door.open()
    assert done(job).output == ["0", "1", "2", "3"]
    assert repeats(runtime, job)


# --- names that mean something to the engine --------------------------------------------------


def test_a_tool_whose_name_looks_like_a_patch_is_sent_once(start: Start) -> None:
    sent: list[int] = []

    @tool(effect="unsafe", name="patched card")
    async def charge() -> str:
        sent.append(current_call().attempt)
        return "charged"

    @agent("pays")
    async def pays(ctx: Context, _message: str) -> Any:
        return await ctx.gather(lambda: ctx.call(charge), lambda: ctx.wait_signal("go"))

    runtime = start(pays)
    job = parked(runtime.submit(pays), "signal")
    runtime.signal(job.id, "go", 7)
    assert done(job).output == ["charged", 7]
    assert sent == [1]


def test_a_question_whose_title_looks_like_a_patch_is_answered(start: Start) -> None:
    @agent("deploys")
    async def deploys(ctx: Context, _message: str) -> Any:
        return (await ctx.approval("patched build 7: deploy?")).approved

    runtime = start(deploys)
    job = parked(runtime.submit(deploys), "approval")
    runtime.approve(job.id)
    assert done(job).output is True


# --- the order of the history is the order in which the code hears ----------------------------


def test_an_answer_that_meets_results_is_recorded_where_the_code_has_heard_it(
    start: Start, doors: Doors
) -> None:
    @tool(effect="unsafe")
    async def send() -> str:
        return "sent"

    @agent("counts")
    async def counts(ctx: Context, _message: str) -> Any:
        approved: list[bool] = []

        async def ask() -> None:
            approved.append((await ctx.approval("enough?")).approved)

        async def count() -> int:
            await doors["before the calls"].through()
            n = 0
            # What the code has heard decides what it does: another order, another history.
            while not approved:
                await ctx.call(echo, what=n)
                n += 1
            return n

        async def effect() -> str:
            await doors["before the effect"].through()
            return str(await ctx.call(send))

        n = (await ctx.gather(ask, count, effect))[1]
        await ctx.wait_signal("go")
        return n

    runtime, other = start(counts), start(worker=False)
    job = runtime.submit(counts)
    until_there(runtime, job, "approval.requested")
    run = run_of(runtime, job)
    with slow_reads(runtime):
        other.approve(job.id)
        # The intent does not know of the answer, so it comes back; the inbox is being read now.
        doors["before the effect"].open()
        until(lambda: run.journal.stalled, "the refusal of the intent")
        doors["before the calls"].open()
        until(lambda: len(run.history.steps) > 5, "results that wait for the inbox")
    parked(job, "signal")
    runtime.signal(job.id, "go")
    doors.open_all()
    assert done(job).status == "succeeded"
    assert repeats(runtime, job)
    assert job.output == len([one for one in job.calls() if one["tool"] == "echo"])


def test_a_time_that_ends_a_wait_and_another_are_heard_in_the_order_they_are_written(
    start: Start,
) -> None:
    @agent("two_times")
    async def two_times(ctx: Context, _message: str) -> Any:
        heard: list[str] = []

        async def listen() -> None:
            try:
                await ctx.wait_signal("never", timeout="0.5s")
            except TimedOut:
                heard.append("the signal's time")

        async def sleep() -> None:
            await ctx.sleep("0.5s")
            heard.append("the timer")

        await ctx.gather(listen, sleep)
        await ctx.call(echo, what=heard)
        await ctx.wait_signal("go")
        return heard

    runtime, other = start(two_times), start(worker=False)
    job = runtime.submit(two_times)
    until_there(other, job, "timer.set")
    (timer,) = events(other, job, "timer.set")
    over = datetime.fromisoformat(timer["data"]["until"]) + timedelta(milliseconds=10)
    with busy_loop(runtime):
        # Both are over when the loop goes on, in one turn: the one has to wait for the disk.
        until(lambda: datetime.now(UTC) > over, "the end of the times")
    parked(job, "signal")
    runtime.signal(job.id, "go")
    assert done(job).status == "succeeded"
    assert repeats(runtime, job)


# --- code and configuration that have changed -------------------------------------------------


def _left_in_flight(start: Start, doors: Doors, code: Any) -> Any:
    """Begin a job whose worker stops while the tool stands at the door."""
    runtime = start(code, settings=Settings(grace_s=0.01))
    job = runtime.submit(code)
    doors["in the tool"].is_reached()
    closed(runtime)
    return job


def test_a_call_keeps_the_key_it_was_sent_with(start: Start, doors: Doors) -> None:
    keys: list[str] = []
    version = ["v1"]

    @tool(effect="key", key_ttl="1d")
    async def charge() -> str:
        keys.append(current_call().key)
        await doors["in the tool"].through()
        return "charged"

    @agent("pays")
    async def pays(ctx: Context, _message: str) -> Any:
        return await ctx.call(charge, key=f"{version[0]}:order-42")

    left = _left_in_flight(start, doors, pays)
    doors.open_all()
    version[0] = "v2"
    runtime = start(pays)
    parked(runtime.job(left.id), "diverged")
    assert "v1:order-42" in runtime.parked()[0]["title"]
    assert keys == ["v1:order-42"]
    closed(runtime)
    # With its own key it is sent again: the provider knows the key.
    version[0] = "v1"
    runtime = start(pays)
    runtime.ask(runtime.session.control.resume(left.id))
    assert done(runtime.job(left.id)).output == "charged"
    assert keys == ["v1:order-42", "v1:order-42"]


def test_an_unsafe_call_stays_unsafe_when_its_tool_is_declared_otherwise(
    start: Start, doors: Doors
) -> None:
    sent: list[str] = []

    def declared(effect: str) -> Any:
        @tool(effect=effect, name="charge")
        async def charge() -> None:
            sent.append(effect)
            await doors["in the tool"].through()

        @agent("pays")
        async def pays(ctx: Context, _message: str) -> Any:
            return await ctx.call(charge)

        return pays

    left = _left_in_flight(start, doors, declared("unsafe"))
    doors.open_all()
    runtime = start(declared("pure"))
    job = parked(runtime.job(left.id), "in_doubt")
    assert sent == ["unsafe"]
    (call,) = job.calls()
    assert (call["effect"], call["state"]) == ("unsafe", "in_doubt")


# --- branches that wait for each other by means of their own ----------------------------------


async def _by_a_semaphore(ctx: Context) -> Any:
    free = asyncio.Semaphore(2)

    async def one(n: int) -> Any:
        async with free:
            return await ctx.call(echo, what=n)

    return await ctx.gather(*(lambda n=n: one(n) for n in range(6)))


async def _by_an_event(ctx: Context) -> Any:
    over = asyncio.Event()

    async def first() -> Any:
        found = await ctx.call(echo, what="first")
        over.set()
        return found

    async def second() -> Any:
        await over.wait()
        return await ctx.call(echo, what="second")

    return await ctx.gather(second, first)


async def _by_a_queue(ctx: Context) -> Any:
    queue: asyncio.Queue[Any] = asyncio.Queue()

    async def gives() -> None:
        for n in range(3):
            queue.put_nowait(await ctx.call(echo, what=n))

    async def takes() -> Any:
        return [await ctx.call(echo, what=[await queue.get()]) for _ in range(3)]

    return await ctx.gather(takes, gives)


@pytest.mark.parametrize("means", [_by_a_semaphore, _by_an_event, _by_a_queue])
def test_branches_may_wait_for_each_other_when_the_code_is_run_again(
    start: Start, means: Callable[[Context], Any]
) -> None:
    @agent("shares")
    async def shares(ctx: Context, _message: str) -> Any:
        found = await means(ctx)
        await ctx.wait_signal("go")
        return found

    runtime = start(shares)
    job = parked(runtime.submit(shares), "signal")
    calls = len(job.calls())
    runtime.signal(job.id, "go")
    job.wait(goal="step:none", timeout=20)
    assert job.status == "succeeded"
    assert len(job.calls()) == calls
    assert repeats(runtime, job)
    assert alive(runtime)
