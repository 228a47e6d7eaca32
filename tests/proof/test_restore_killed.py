"""A restore that dies at any moment, and programs that have the store open all the while."""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from world import KILLED, World

from aetheris import Runtime, agent
from aetheris_cli.app.registry import CodeRegistry
from aetheris_cli.app.session import opened
from aetheris_cli.domain.errors import StoreFailed
from aetheris_cli.engine.worker import Settings
from aetheris_cli.ports.failpoints import NAMES

STEPS = [name for name in NAMES if name.startswith("restore.")]


@agent("echo")
async def echo(_ctx: Any, message: str) -> str:
    return message


@pytest.fixture
def world(make_world: Callable[[], World]) -> Iterator[World]:
    """A store with one job in its backup and another that came later."""
    made = make_world()
    made.ok("submit", "crash_pure", "in the backup")
    made.ok("store", "backup", "backup.db")
    made.ok("submit", "crash_pure", "later")
    return made


def path_of(world: World) -> Path:
    return Path(world.folder / ".aetheris" / "aetheris.db")


def messages(world: World) -> set[str]:
    return {world.json("show", job["id"])["message"] for job in world.json("jobs")}


@pytest.mark.parametrize("step", STEPS)
def test_a_restore_that_dies_leaves_one_of_the_two_stores(world: World, step: str) -> None:
    done = world.run("store", "restore", "backup.db", "--yes", failpoint=step)
    assert done.returncode == KILLED
    assert path_of(world).exists()
    restored = step == "restore.after_rename"
    assert messages(world) == {"in the backup"} if restored else {"in the backup", "later"}
    world.ok("store", "check")
    world.ok("submit", "crash_pure", "after the kill")
    again = world.json("store", "restore", "backup.db", "--yes")
    assert again["generation"] == (
        2 if step in {"restore.after_copy", "restore.before_note"} else 3
    )
    assert messages(world) == {"in the backup"}
    assert not list(path_of(world).parent.glob("*restoring*"))
    former = world.json("--store", f"sqlite:///{again['aside']}", "jobs")
    assert len(former) == (2 if restored else 3)


@pytest.mark.parametrize("step", [*STEPS, ""])
def test_what_is_acknowledged_beside_a_restore_is_found(world: World, step: str) -> None:
    url = f"sqlite:///{path_of(world)}"
    refused = False
    with Runtime(url, [echo], worker=False) as runtime:
        runtime.submit("echo", "before")
        world.run("store", "restore", "backup.db", "--yes", failpoint=step)
        # Somebody who opens the store afresh, and is there before the former user goes.
        with Runtime(url, [echo], worker=False) as other:
            fresh = other.submit("echo", "fresh").id
            try:
                job = runtime.submit("echo", "acknowledged").id
            except StoreFailed as error:
                refused = True
                assert error.exit == 74  # noqa: PT017
                with pytest.raises(StoreFailed, match="replaced or moved away"):
                    runtime.jobs()
            else:
                assert world.json("show", job)["id"] == job
    assert refused == (step not in {"restore.after_copy", "restore.before_note"})
    assert world.json("show", fresh)["id"] == fresh
    if not refused:
        assert world.json("show", job)["id"] == job
    world.ok("store", "check")


def test_a_worker_that_had_not_registered_when_the_store_was_replaced_never_does(
    world: World,
) -> None:
    async def play() -> None:
        async with opened(f"sqlite:///{path_of(world)}", CodeRegistry([echo])) as session:
            worker = session.worker(Settings())
            await asyncio.to_thread(world.ok, "store", "restore", "backup.db", "--yes")
            with pytest.raises(StoreFailed):
                await worker.begin()

    asyncio.run(play())
    assert world.json("workers", "--all") == []


def test_a_worker_whose_store_is_moved_away_stops_and_says_so(world: World) -> None:
    worker = world.start("worker")
    world.until(lambda: bool(world.json("workers")), "the worker")
    world.until(lambda: not [1 for job in world.json("jobs") if job["status"] == "queued"], "work")
    path = path_of(world)
    path.rename(path.with_name("moved.db"))
    # Nothing tells it, so it finds out when it next looks or writes: at its next sign of life.
    _, stderr = worker.communicate(timeout=60)
    assert worker.returncode == 74, stderr
    assert "replaced or moved away" in stderr


def test_the_generation_never_falls(world: World) -> None:
    path = path_of(world)

    def generation() -> int:
        return int(world.json("store", "restore", "backup.db", "--yes")["generation"])

    assert [generation(), generation()] == [2, 3]
    with path.open("r+b") as file:
        file.write(b"\0" * 100)
    assert generation() == 4
    path.unlink()
    assert generation() == 5
    # Of the lock directory nothing is left: then by the names of what was moved aside.
    for one in path.with_name("aetheris.db-locks").iterdir():
        one.unlink()
    path.with_name("aetheris.db").write_bytes(b"\0" * 8192)
    assert generation() == 5


def test_a_store_that_has_lost_its_file_is_not_begun_anew(world: World) -> None:
    path = path_of(world)
    aside = world.json("store", "restore", "backup.db", "--yes")["aside"]
    path.unlink()
    for words in (("jobs",), ("submit", "crash_pure", "x"), ("worker", "--until-idle")):
        done = world.run(*words)
        assert done.returncode != 0
        assert "aetheris store restore" in done.stderr
        assert not path.exists()
    world.ok("store", "restore", aside, "--yes")
    assert messages(world) == {"in the backup", "later"}


def test_a_copied_project_proves_no_death_of_the_originals_workers(world: World) -> None:
    worker = world.start("worker")
    world.until(lambda: any(one["alive"] for one in world.json("workers")), "the worker")
    copy = world.folder.parent / "copy"
    # The bells are pipes, which nobody copies.
    shutil.copytree(world.folder, copy, ignore=shutil.ignore_patterns("*.bell"))
    store = f"sqlite:///{copy}/.aetheris/aetheris.db"
    assert [one["alive"] for one in world.json("--store", store, "workers")] == [True]
    worker.kill()
    worker.wait()
    assert not any(one["alive"] for one in world.json("workers"))
