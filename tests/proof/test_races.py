"""What meets in the same moment: an answer and the park, an answer and the end of its time."""

import subprocess
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from world import World


def _held_at_its_park(world: World, agent: str, limit: str) -> "tuple[str, subprocess.Popen[str]]":
    """Start a job that asks, and hold its worker, loop and all, where it is about to park it."""
    call, park = world.folder / "call", world.folder / "park"
    job = world.ok("submit", agent, f"{call} {limit}").strip()
    worker = world.start("worker", "--until-idle", failpoint=f"park.before_commit:1@{park}")
    world.until((world.folder / "call.reached").exists, "the call beside it")
    world.until(lambda: bool(_asked(world, job)), "the question")
    (world.folder / "call.go").touch()
    world.until((world.folder / "park.reached").exists, "the park")
    return job, worker


def _asked(world: World, job: str) -> list[dict[str, Any]]:
    kinds = {"approval.requested", "signal.awaited"}
    return [one for one in world.json("trace", job) if one["type"] in kinds]


def _released(world: World, worker: "subprocess.Popen[str]") -> None:
    (world.folder / "park.go").touch()
    _, errors = worker.communicate(timeout=60)
    assert worker.returncode == 0, errors


def _outcome(world: World, job: str) -> tuple[str, Any]:
    found = world.json("show", job)
    return found["status"], found["output"]


def _until_past(world: World, job: str) -> None:
    """Let the time of the job's wait come; the clock is all that there is to look at."""
    (asked,) = _asked(world, job)
    at = asked["data"].get("expires_at") or asked["data"]["until"]
    _until(world, datetime.fromisoformat(at).timestamp() * 1_000)


def _until(world: World, end_ms: float) -> None:
    world.until(lambda: time.time() * 1_000 > end_ms, "the end of the time")


def _types(world: World, job: str) -> list[str]:
    return [one["type"] for one in world.json("trace", job)]


def test_an_approval_that_comes_while_the_job_parks_is_not_lost(
    make_world: Callable[[], World],
) -> None:
    world = make_world()
    job, worker = _held_at_its_park(world, "hurried", "1h")
    world.approve(job)
    _released(world, worker)
    assert _outcome(world, job) == ("succeeded", "approved")
    assert "job.parked" not in _types(world, job)
    assert world.broken() == []


def test_an_approval_in_time_wins_although_its_owner_reads_it_too_late(
    make_world: Callable[[], World],
) -> None:
    world = make_world()
    job, worker = _held_at_its_park(world, "hurried", "5s")
    world.approve(job)
    _until_past(world, job)
    _released(world, worker)
    assert _outcome(world, job) == ("succeeded", "approved")
    assert _types(world, job).count("approval.decided") == 1
    assert world.broken() == []


@pytest.mark.parametrize(("agent", "ends"), [("hurried", "denied"), ("listening", "timed out")])
def test_a_wait_whose_time_ends_while_its_job_parks_ends(
    agent: str, ends: str, make_world: Callable[[], World]
) -> None:
    world = make_world()
    job, worker = _held_at_its_park(world, agent, "4s")
    # It refuses the park, and is no answer to the wait.
    world.ok("signal", job, "another", "1")
    _until_past(world, job)
    _released(world, worker)
    assert _outcome(world, job) == ("succeeded", ends)
    assert world.broken() == []


def test_a_job_whose_own_time_ends_while_it_parks_ends(make_world: Callable[[], World]) -> None:
    world = make_world()
    job, worker = _held_at_its_park(world, "limited", "-")
    world.ok("signal", job, "another", "1")
    _until(world, (time.time() + 4) * 1_000)  # it began before this
    _released(world, worker)
    found = world.json("show", job)
    assert (found["status"], found["error"]["kind"]) == ("failed", "job_timed_out")
    assert world.broken() == []
