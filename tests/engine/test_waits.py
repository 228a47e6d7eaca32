"""Approvals, signals, timers and children, through the embedded runtime on a real file."""

from pathlib import Path
from typing import Any

import pytest

from aetheris import AetherisError, CallFailed, Context, Runtime, TimedOut, agent, tool


@tool(effect="pure")
async def shout(text: str) -> str:
    return text.upper()


@agent("asks")
async def asks(ctx: Context, message: str) -> Any:
    decision = await ctx.approval(
        f"send {message}?", details={"to": message}, role="boss", expires=ctx.input
    )
    return [decision.approved, decision.value, decision.by, decision.comment]


@agent("listens")
async def listens(ctx: Context, message: str) -> Any:
    return [await ctx.wait_signal("n") for _ in range(int(message))]


@agent("patient")
async def patient(ctx: Context, message: str) -> str:
    try:
        await ctx.wait_signal("never", timeout=message)
    except TimedOut:
        return "timed out"
    return "came"


@agent("sleeper")
async def sleeper(ctx: Context, message: str) -> str:
    await ctx.sleep(message)
    return "awake"


@agent("child")
async def child(ctx: Context, message: str) -> str:
    if message == "fail":
        raise ValueError("no")
    if message == "wait":
        await ctx.wait_signal("go")
    return str(await ctx.call(shout, text=message))


@agent("parent")
async def parent(ctx: Context, message: str) -> str:
    try:
        return str(await ctx.child("child", message, input={"from": ctx.job_id}))
    except CallFailed as error:
        return f"failed: {error}"


AGENTS = [asks, listens, patient, sleeper, child, parent]


@pytest.fixture
def runtime(tmp_path: Path) -> Any:
    with Runtime(f"sqlite:///{tmp_path / 'jobs.db'}", AGENTS) as found:
        yield found


def test_an_approval_parks_the_job_and_its_answer_reaches_the_code(runtime: Runtime) -> None:
    job = runtime.submit(asks, "Ann").wait()
    assert (job.status, job.data["parked"]["reason"]) == ("parked", "approval")
    (asked,) = runtime.parked()
    assert (asked["title"], asked["role"]) == ("send Ann?", "boss")
    runtime.approve(job.id, edit={"to": "Bob"}, comment="to Bob")
    approved, value, by, comment = job.wait().output
    assert (approved, value, comment) == (True, {"to": "Bob"}, "to Bob")
    assert by
    assert runtime.parked() == []


def test_a_rejection_is_a_decision_too(runtime: Runtime) -> None:
    job = runtime.submit(asks, "Ann").wait()
    runtime.reject(job.id, reason="not today")
    assert job.wait().output[0] is False
    assert job.output[3] == "not today"
    with pytest.raises(AetherisError):
        runtime.approve(job.id)


def test_nobody_decides_in_time_so_the_answer_is_no(runtime: Runtime) -> None:
    job = runtime.submit(asks, "Ann", input="50ms")
    done = job.wait(goal="step:1").wait(timeout=30)
    assert done.output[:3] == [False, None, "expiry"]


def test_signals_are_kept_when_early_and_taken_in_their_order(runtime: Runtime) -> None:
    job = runtime.submit(listens, "3").wait(goal="parked")
    runtime.signal(job.id, "n", 1, key="a")
    runtime.signal(job.id, "n", 1, key="a")
    runtime.signal(job.id, "other", 9)
    runtime.signal(job.id, "n", 2)
    runtime.signal(job.id, "n", {"x": 3})
    assert job.wait(goal="step:3").refresh().wait().output == [1, 2, {"x": 3}]


def test_a_signal_that_does_not_come_times_out(runtime: Runtime) -> None:
    assert runtime.submit(patient, "30ms").wait(goal="step:1").wait().output == "timed out"


def test_a_short_sleep_keeps_the_worker_and_a_long_one_does_not(runtime: Runtime) -> None:
    assert runtime.submit(sleeper, "20ms").wait().output == "awake"
    long = runtime.submit(sleeper, "1h").wait(goal="parked")
    assert (long.status, long.data["parked"]["reason"]) == ("parked", "timer")
    assert long.data["worker"] is None


def test_a_child_gives_its_output_and_its_id_comes_from_the_call(runtime: Runtime) -> None:
    job = runtime.submit(parent, "hello").wait(goal="step:1").wait()
    assert job.output == "HELLO"
    (made,) = [one for one in runtime.jobs() if one.data["parent_id"] is not None]
    again = runtime.submit(parent, "hello").wait(goal="step:1").wait()
    assert again.output == "HELLO"
    assert made.data["input"] == {"from": job.id}
    assert made.data["parent_id"].startswith(job.id)


def test_a_child_that_fails_is_a_failed_call(runtime: Runtime) -> None:
    job = runtime.submit(parent, "fail").wait(goal="step:1").wait()
    assert job.output.startswith("failed: ")


def test_a_cancel_reaches_the_children(runtime: Runtime) -> None:
    job = runtime.submit(parent, "wait").wait(goal="parked")
    (made,) = [one for one in runtime.jobs() if one.data["parent_id"] is not None]
    made.wait(goal="parked")
    job.cancel("enough")
    assert job.wait().status == "cancelled"
    assert made.wait().status == "cancelled"
