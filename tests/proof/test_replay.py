"""What a changed program does to a recorded history: replay names it, a resume parks."""

import json
from collections.abc import Callable

from world import World

SAME = "return await ctx.call(charge, order=message)"
OTHER = 'return await ctx.call(look, item="something else")'


def _change(world: World, old: str, new: str) -> None:
    path = world.folder / "crash_agents.py"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def test_replay_of_unchanged_code_matches_and_sends_nothing(
    make_world: Callable[[], World],
) -> None:
    world = make_world()
    job = world.finished("crash_unsafe")
    before = world.histories()
    verdict = world.json("replay", "--job", job)
    assert verdict["matched"]
    assert verdict["steps"] == 5
    assert len(world.effects()) == 1
    assert world.histories() == before


def test_replay_names_the_step_at_which_changed_code_calls_something_else(
    make_world: Callable[[], World],
) -> None:
    world = make_world()
    job = world.finished("crash_unsafe")
    _change(world, SAME, OTHER)
    done = world.run("replay", "--job", job, "--json")
    assert done.returncode == 12
    assert json.loads(done.stdout)["divergence"]["step"] == "3"


def test_replay_names_a_command_that_was_added_at_the_end(make_world: Callable[[], World]) -> None:
    world = make_world()
    job = world.finished("crash_pure")
    _change(world, SAME, f"{SAME.replace('return', 'got =')}\n        {OTHER}")
    done = world.run("replay", "--job", job, "--json")
    assert done.returncode == 12
    assert json.loads(done.stdout)["divergence"]["step"] == "4"


def test_a_job_resumed_with_other_code_parks_and_goes_on_when_it_is_mended(
    make_world: Callable[[], World],
) -> None:
    world = make_world()
    job = world.approved("crash_unsafe")
    _change(world, 'lambda: ctx.call(look, item="b")', 'lambda: ctx.call(look, item="x")')
    world.work()
    found = world.json("show", job)
    assert (found["status"], found["parked"]["reason"]) == ("parked", "diverged")
    assert world.effects() == []
    _change(world, 'lambda: ctx.call(look, item="x")', 'lambda: ctx.call(look, item="b")')
    world.ok("resume", job)
    world.work()
    assert world.json("show", job)["status"] == "succeeded"
    assert world.broken() == []


def test_replay_refuses_an_effect_outside_of_a_tool(make_world: Callable[[], World]) -> None:
    world = make_world()
    job = world.finished("crash_pure")
    _change(world, SAME, f"Path('leak').write_text('x')\n        {SAME}")
    done = world.run("replay", "--job", job, "--json")
    assert done.returncode == 12
    assert not (world.folder / "leak").exists()
    assert "leak" in json.loads(done.stdout)["denied"][0]
