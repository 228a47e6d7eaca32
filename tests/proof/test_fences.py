"""What must hold between processes: intent before effect, quarantine, cancel, one decision."""

import signal
from collections.abc import Callable

import pytest
from world import World


def test_no_effect_while_its_intent_is_not_on_the_disk(make_world: Callable[[], World]) -> None:
    world = make_world()
    world.approved("crash_unsafe")
    gate = world.folder / "gate"
    # The worker's commits: its lease, the claim, the intent.
    worker = world.start("worker", failpoint=f"store.before_commit:3@{gate}")
    world.until((world.folder / "gate.reached").exists, "the commit of the intent")
    try:
        world.until(lambda: bool(world.effects()), "an effect", seconds=2)
    except AssertionError:
        early = False
    else:
        early = True
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    assert not early
    world.work()
    world.settle_truthfully()
    world.work()
    assert world.broken() == []
    assert len(world.effects()) == 1


def test_a_probes_no_is_not_trusted_while_the_former_owner_lives(
    make_world: Callable[[], World],
) -> None:
    world = make_world()
    job = world.approved("crash_probe")
    gate = world.folder / "gate"
    hung = world.start("worker", "--lease", "1s", failpoint=f"call.before_send:1@{gate}")
    world.until((world.folder / "gate.reached").exists, "the call")
    # Its loop hangs, so its lease ends; but its process lives, and may send yet.
    second = world.start("worker")
    world.until(lambda: bool(world.json("parked") or world.effects()), "the second worker's doubt")
    assert world.effects() == []
    (world.folder / "gate.go").touch()
    world.until(lambda: bool(world.effects()), "the late effect")
    # What the former owner hears after all is kept, and shown to whoever settles the call.
    world.until(lambda: bool(world.json("parked")[0]["evidence"]), "the late answer")
    for worker in (second, hung):
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=60)
    world.settle_truthfully()
    world.work()
    assert world.broken() == []
    assert len(world.effects()) == 1
    assert world.json("show", job)["status"] == "succeeded"


@pytest.mark.parametrize(("agent", "group"), [("by_program", None), ("by_stranger", 0)])
def test_a_probes_no_is_not_trusted_while_a_program_of_the_call_lives(
    agent: str, group: int | None, make_world: Callable[[], World]
) -> None:
    world = make_world()
    gate = world.folder / "gate"
    job = world.ok("submit", agent, str(gate)).strip()
    # A program with an environment of its own is found in the group that its worker led.
    worker = world.start("worker", group=group)
    world.until((world.folder / "gate.reached").exists, "the program")
    worker.send_signal(signal.SIGKILL)
    worker.wait()  # its pipes stay open: the program has them
    world.ok("worker", "--until-idle")
    (waits,) = world.json("parked")
    assert (waits["kind"], waits["owner_alive"]) == ("in_doubt", False)
    (world.folder / "gate.go").touch()
    world.until((world.folder / "gate.sent").exists, "the late effect")
    world.settle_truthfully()
    world.work()
    assert world.broken() == []
    assert len(world.effects()) == 1
    assert world.json("show", job)["status"] == "succeeded"


def test_a_resume_that_comes_while_the_pause_is_written_is_not_lost(
    make_world: Callable[[], World],
) -> None:
    world = make_world()
    call, park = world.folder / "gate", world.folder / "park"
    job = world.ok("submit", "held", str(call)).strip()
    worker = world.start("worker", "--until-idle", failpoint=f"park.before_commit:1@{park}")
    world.until((world.folder / "gate.reached").exists, "the call")
    world.ok("pause", job)
    (world.folder / "gate.go").touch()
    world.until((world.folder / "park.reached").exists, "the pause")
    assert world.effects() == []
    world.ok("resume", job)
    (world.folder / "park.go").touch()
    worker.communicate(timeout=60)
    assert world.json("show", job)["status"] == "succeeded"
    assert len(world.effects()) == 1
    assert world.broken() == []


@pytest.mark.parametrize("name", ["intent.before_commit", "intent.after_commit", "call.after_send"])
def test_a_global_key_outlives_the_worker_that_took_it(
    name: str, make_world: Callable[[], World]
) -> None:
    world = make_world()
    jobs = [world.ok("submit", "keyed", "42").strip() for _ in range(3)]
    world.work(failpoint=name)
    reasons = [one["parked"] and one["parked"]["reason"] for one in world.json("jobs")]
    if name == "intent.before_commit":
        assert reasons == [None] * 3
    else:
        assert sorted(reasons) == ["global_key", "global_key", "in_doubt"]
    world.settle_truthfully()
    world.work()
    assert [world.json("show", job)["status"] for job in jobs] == ["succeeded"] * 3
    assert len(world.effects()) == 1
    assert world.broken() == []
    assert all(world.run("replay", "--job", job).returncode == 0 for job in jobs)


def test_a_global_key_that_was_taken_for_a_call_that_was_never_made_gives_no_outcome(
    make_world: Callable[[], World],
) -> None:
    world = make_world()
    first = world.ok("submit", "rewritten", "42").strip()
    # The key is held for its first step; that step's intent was never written.
    assert world.run("worker", "--until-idle", failpoint="intent.before_commit").returncode == -9
    assert world.effects() == []
    (world.folder / "rewritten").touch()
    world.work()
    second = world.ok("submit", "keyed", "42").strip()
    world.work()
    sent = [(one["call_id"], one["order"]) for one in world.effects()]
    assert sent == [(f"{first}.1", "mail"), (f"{second}.1", "42")]
    assert [world.json("show", job)["status"] for job in (first, second)] == ["succeeded"] * 2
    assert world.broken() == []


def test_an_acknowledged_cancel_is_followed_by_no_effect(make_world: Callable[[], World]) -> None:
    world = make_world()
    gate = world.folder / "gate"
    job = world.ok("submit", "held", str(gate)).strip()
    world.acked("submit", job)
    worker = world.start("worker", "--until-idle")
    world.until((world.folder / "gate.reached").exists, "the call")
    world.ok("cancel", job, "--reason", "enough")
    world.acked("cancel", job)
    (world.folder / "gate.go").touch()
    worker.communicate(timeout=60)
    assert worker.returncode == 0
    assert world.effects() == []
    assert world.broken() == []
    assert world.json("show", job)["status"] == "cancelled"


def test_an_approval_is_good_once_while_the_job_has_an_owner(
    make_world: Callable[[], World],
) -> None:
    world = make_world()
    gate = world.folder / "gate"
    job = world.ok("submit", "two_doors", str(gate)).strip()
    worker = world.start("worker", "--until-idle")
    world.until((world.folder / "gate.reached").exists, "the call")
    world.until(lambda: bool(world.json("parked")), "the question")
    # The owner reads its inbox while we go on: both answers may reach it at once.
    worker.send_signal(signal.SIGSTOP)
    first = world.run("approve", job)
    second = world.run("approve", job)
    third = world.run("reject", job, "--reason", "no")
    worker.send_signal(signal.SIGCONT)
    (world.folder / "gate.go").touch()
    worker.communicate(timeout=60)
    assert [first.returncode, second.returncode, third.returncode] == [0, 5, 5]
    assert world.broken() == []
    assert len(world.effects()) == 1
