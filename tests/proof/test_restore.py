"""Going back in time: the generation rises, and every open job waits for a person."""

import signal
from collections.abc import Callable
from pathlib import Path

from world import World


def test_a_restored_store_sends_nothing_until_a_person_says_so(
    make_world: Callable[[], World],
) -> None:
    world = make_world()
    world.finished("crash_pure")
    job = world.ok("submit", "crash_unsafe", "order 42").strip()
    world.work()
    backup = str(world.folder / "backup.db")
    world.ok("store", "backup", backup)
    world.approve(job)
    world.work()
    assert world.json("show", job)["status"] == "succeeded"
    sent = len(world.effects())

    # Nobody can be asked here, so nothing happens without --yes.
    assert world.run("store", "restore", backup).returncode == 2
    done = world.json("store", "restore", backup, "--yes")
    assert (done["generation"], done["parked"]) == (2, 1)
    assert Path(done["aside"]).exists()
    found = world.json("show", job)
    assert (found["status"], found["parked"]["reason"]) == ("parked", "restored")
    world.ok("store", "check")

    # An answer alone does not set it going: its effect may have happened already.
    world.ok("approve", job)
    world.work()
    assert world.json("show", job)["status"] == "parked"
    assert len(world.effects()) == sent
    world.ok("resume", job)
    world.work()
    assert world.json("show", job)["status"] == "succeeded"
    assert len(world.effects()) == sent + 1


def test_nothing_is_replaced_under_a_living_worker(make_world: Callable[[], World]) -> None:
    world = make_world()
    job = world.submit("crash_pure")
    backup = str(world.folder / "backup.db")
    world.ok("store", "backup", backup)
    world.start("worker")
    world.until(lambda: any(one["alive"] for one in world.json("workers")), "the worker")
    done = world.run("store", "restore", backup, "--yes")
    assert done.returncode == 5
    assert "stop them first" in done.stderr
    assert world.json("show", job)["id"] == job


def test_what_is_no_backup_replaces_nothing(make_world: Callable[[], World]) -> None:
    world = make_world()
    job = world.submit("crash_pure")
    other = world.folder / "other.db"
    other.write_bytes(b"this is no database" * 100)
    assert world.run("store", "restore", str(other), "--yes").returncode == 6
    assert world.run("store", "restore", "missing.db", "--yes").returncode == 3
    assert world.json("show", job)["id"] == job
    assert not list(world.folder.glob("**/*.restoring*"))


def caught_in_the_act(world: World, agent: str, *wishes: tuple[str, ...]) -> str:
    """Back up a store whose job is under way, with wishes that its owner has not read."""
    gate = world.folder / "gate"
    job = str(world.ok("submit", agent, str(gate)).strip())
    worker = world.start("worker")
    world.until(lambda: Path(f"{gate}.reached").exists(), "the call")
    worker.send_signal(signal.SIGSTOP)
    for verb, *more in wishes:
        world.ok(verb, job, *more)
    world.ok("store", "backup", "backup.db")
    worker.send_signal(signal.SIGCONT)
    Path(f"{gate}.go").touch()
    world.run("wait", job)
    worker.send_signal(signal.SIGTERM)
    worker.wait()
    return job


def test_no_unread_wish_lifts_the_park_of_a_restored_job(make_world: Callable[[], World]) -> None:
    world = make_world()
    job = caught_in_the_act(world, "held", ("pause",), ("resume",), ("signal", "news", "1"))
    assert len(world.effects()) == 1

    assert world.json("store", "restore", "backup.db", "--yes")["parked"] == 1
    world.work()
    found = world.json("show", job)
    assert (found["status"], found["parked"]["reason"]) == ("parked", "restored")
    assert "signal.received" in [event["type"] for event in world.json("trace", job)]
    assert len(world.effects()) == 1
    world.ok("resume", job)
    world.work()
    assert world.json("show", job)["status"] == "succeeded"
    assert len(world.effects()) == 2
    world.ok("store", "check")


def test_an_unread_cancel_ends_a_restored_job(make_world: Callable[[], World]) -> None:
    world = make_world()
    job = caught_in_the_act(world, "held", ("pause",), ("cancel",))
    assert world.json("store", "restore", "backup.db", "--yes")["parked"] == 0
    assert world.json("show", job)["status"] == "cancelled"
    world.ok("store", "check")
