"""Global keys: one effect for all jobs that name it."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aetheris import CallFailed, Context, Job, NotSent, Runtime, agent, tool

VERDICTS: Any = {
    "happened": {"happened": {"paid": 1}},
    "did_not_happen": {"did_not_happen": True},
    "fail": {"fail": True},
}


class Desk:
    """A provider in this process: it counts, and it waits when told to."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.sent: list[str] = []
        self.errors: list[BaseException] = []
        self.go.set()

    def charge(self, order: str) -> dict[str, Any]:
        """Charge."""
        self.sent.append(order)
        self.begun.set()
        self.go.wait(60)
        if self.errors:
            raise self.errors.pop()
        return {"order": order, "n": len(self.sent)}


Start = Callable[..., Job]


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.go.set()


@pytest.fixture
def runtime(tmp_path: Path, desk: Desk) -> Iterator[Runtime]:
    @tool(effect="unsafe")
    def charge(order: str) -> dict[str, Any]:
        return desk.charge(order)

    @agent("pays")
    async def pays(ctx: Context, order: str) -> Any:
        try:
            return await ctx.call(charge, key="order-42", order=order)
        except CallFailed as error:
            return str(error)

    @agent("pays_twice")
    async def pays_twice(ctx: Context, order: str) -> Any:
        return await ctx.gather(
            lambda: ctx.call(charge, key="order-42", order=order),
            lambda: ctx.call(charge, key="order-42", order=order),
        )

    with Runtime(f"sqlite:///{tmp_path / 'jobs.db'}", [pays, pays_twice]) as found:
        yield found
        desk.go.set()


def waits_for_key(job: Job) -> None:
    """Wait until the job is parked for the key."""
    found = job.wait(goal="parked", timeout=60)
    assert (found.status, found.parked and found.parked["reason"]) == ("parked", "global_key")


def test_the_second_takes_the_outcome_of_the_first(runtime: Runtime, desk: Desk) -> None:
    first = runtime.submit("pays", "42").wait(timeout=60)
    second = runtime.submit("pays", "42").wait(timeout=60)
    assert first.output == second.output == {"order": "42", "n": 1}
    assert desk.sent == ["42"]
    assert second.calls()[0]["attempts"] == []
    assert second.calls()[0]["key"] == "order-42"


def test_the_second_waits_while_the_first_is_under_way(runtime: Runtime, desk: Desk) -> None:
    desk.go.clear()
    first = runtime.submit("pays", "42")
    assert desk.begun.wait(60)
    others = [runtime.submit("pays", "42") for _ in range(3)]
    for other in others:
        waits_for_key(other)
    assert runtime.parked() == []
    desk.go.set()
    done = [job.wait(timeout=60).output for job in (first, *others)]
    assert done == [{"order": "42", "n": 1}] * 4
    assert desk.sent == ["42"]


def test_branches_of_one_job_share_a_key(runtime: Runtime, desk: Desk) -> None:
    job = runtime.submit("pays_twice", "42").wait(timeout=60)
    assert job.output == [{"order": "42", "n": 1}] * 2
    assert desk.sent == ["42"]


def test_other_arguments_are_a_conflict(runtime: Runtime, desk: Desk) -> None:
    first = runtime.submit("pays", "42").wait(timeout=60)
    second = runtime.submit("pays", "43").wait(timeout=60)
    assert f"{first.id}.1 holds this key with other arguments" in second.output
    assert desk.sent == ["42"]


def test_what_was_not_sent_lets_go_of_the_key(runtime: Runtime, desk: Desk) -> None:
    desk.errors.append(NotSent("no route"))
    desk.go.clear()
    first = runtime.submit("pays", "42")
    assert desk.begun.wait(60)
    second = runtime.submit("pays", "42")
    waits_for_key(second)
    desk.go.set()
    assert "no route" in first.wait(timeout=60).output
    assert second.wait(timeout=60).output == {"order": "42", "n": 2}


@pytest.mark.parametrize("verdict", ["happened", "did_not_happen", "fail"])
@pytest.mark.parametrize("cancelled", [False, True])
def test_a_key_in_doubt_is_settled_for_all(
    runtime: Runtime, desk: Desk, verdict: str, *, cancelled: bool
) -> None:
    desk.errors.append(ValueError("reset"))
    desk.go.clear()
    first = runtime.submit("pays", "42")
    assert desk.begun.wait(60)
    second = runtime.submit("pays", "42")
    waits_for_key(second)
    if cancelled:
        first.cancel("enough")
    desk.go.set()
    first.wait(timeout=60)
    (doubt,) = runtime.parked()
    assert doubt["call_id"] == f"{first.id}.1"
    waits_for_key(second)
    runtime.settle(doubt["call_id"], **VERDICTS[verdict], reason="asked")
    output = second.wait(timeout=60).output
    if verdict == "happened":
        assert (output, desk.sent) == ({"paid": 1}, ["42"])
    elif verdict == "fail":
        assert "failed" in output
        assert desk.sent == ["42"]
    else:
        # Sent once more: by the job that held the key, or, if that has ended, by the other.
        assert (output, desk.sent) == ({"order": "42", "n": 2}, ["42", "42"])


def test_many_jobs_and_one_effect(runtime: Runtime, desk: Desk) -> None:
    jobs = [runtime.submit("pays", "42") for _ in range(50)]
    outputs = [job.wait(timeout=60).output for job in jobs]
    assert all(output == {"order": "42", "n": 1} for output in outputs)
    assert desk.sent == ["42"]
