"""What authors use in their own tests."""

from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from aetheris import Context, Refused, agent, current_call, tool
from aetheris.testing import Witness, run
from aetheris_cli.domain.errors import UsageError, WaitTimedOut


@tool(effect="unsafe")
def charge(order: str, cents: int) -> dict[str, Any]:
    """Charge for real; a test never gets here."""
    raise AssertionError(f"the real tool ran for {order}, {cents}")


@agent("pays")
async def pays(ctx: Context, order: str) -> Any:
    if order == "ask":
        await ctx.approval("charge?")
    return await ctx.call(charge, order=order, cents=5)


@agent("waits")
async def waits(ctx: Context, _message: str) -> Any:
    return await ctx.wait_signal("never")


def test_a_job_is_run_with_a_stand_in_for_its_tool() -> None:
    job = run(pays, "42", tools={"charge": lambda order, cents: {"paid": order, "cents": cents}})
    assert (job.status, job.output) == ("succeeded", {"paid": "42", "cents": 5})
    (call,) = job.calls()
    assert (call["tool"], call["effect"], call["state"]) == ("charge", "unsafe", "succeeded")
    assert [one["status"] for one in job.steps()] == ["succeeded"]


def test_a_stand_in_may_be_async_and_may_fail() -> None:
    async def refuse(order: str, cents: int) -> None:
        raise Refused(f"{order} is closed at {cents}")

    job = run(pays, "42", tools={"charge": refuse})
    assert job.status == "failed"
    assert "42 is closed at 5" in (job.error or {})["message"]


def test_a_job_that_asks_comes_back_with_its_question() -> None:
    job = run(pays, "ask", tools={"charge": lambda **_args: None})
    assert (job.status, job.waits[0]["title"]) == ("parked", "charge?")
    with pytest.raises(UsageError, match="its store is gone"):
        job.cancel()
    assert job.refresh().wait() is job


def test_a_job_that_does_not_end_is_a_time_out() -> None:
    with pytest.raises(WaitTimedOut):
        run(waits, timeout="50ms")


def test_without_a_stand_in_the_tool_itself_runs() -> None:
    job = run(pays, "42")
    assert (job.status, job.waits[0]["kind"]) == ("parked", "in_doubt")


def test_the_witness_sees_what_a_tool_sends(tmp_path: Path) -> None:
    with Witness(tmp_path / "log.jsonl") as witness:

        def post(order: str, cents: int) -> None:
            body = f'{{"call_id": "{current_call().id}", "order": "{order}", "cents": {cents}}}'
            with urlopen(Request(f"{witness.url}/effect", body.encode())) as answer:  # noqa: S310
                answer.read()

        job = run(pays, "42", tools={"charge": post})
        assert witness.effects() == [{"call_id": f"{job.id}.1", "order": "42", "cents": 5}]
