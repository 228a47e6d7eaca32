"""Going back in time: the generation rises, and every open job waits for a person."""

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
