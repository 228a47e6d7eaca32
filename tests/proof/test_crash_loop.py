"""A job that kills its worker again and again is put away, and the others go on."""

from collections.abc import Callable

from world import KILLED, World

DEATHS = 5


def _deaths(world: World) -> int:
    found = 0
    while world.run("worker", "--until-idle").returncode == KILLED:
        found += 1
    return found


def test_a_job_whose_step_kills_five_workers_in_a_row_parks(
    make_world: Callable[[], World],
) -> None:
    world = make_world()
    job = world.ok("submit", "deadly", "x").strip()
    assert _deaths(world) == DEATHS
    found = world.json("show", job)
    assert (found["status"], found["parked"]["reason"]) == ("parked", "crash_loop")
    # It harms nobody while it is away, and a person may let it try again.
    other = world.finished("crash_unsafe")
    assert world.json("show", other)["status"] == "succeeded"
    world.ok("resume", job)
    assert _deaths(world) == DEATHS
    assert world.json("show", job)["parked"]["reason"] == "crash_loop"
    assert world.broken() == []
