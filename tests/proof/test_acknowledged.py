"""What was acknowledged survives the death of the worker that has read it and not acted yet."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from world import World

from aetheris import Context, Runtime, agent, tool
from aetheris_cli.domain import changes
from aetheris_cli.domain import events as ev
from aetheris_cli.domain.changes import NewJob, Tip
from aetheris_cli.domain.records import WorkerRow
from aetheris_cli.domain.states import WorkerState
from aetheris_cli.store.sqlstore import SqlStore


def test_a_pause_survives_the_owner_that_has_read_it(make_world: Callable[[], World]) -> None:
    world = make_world()
    gate = world.folder / "gate"
    job = world.json("submit", "held", str(gate))["id"]
    owner = world.start("worker")
    world.until(Path(f"{gate}.reached").exists, "the call")
    world.ok("pause", job)
    world.acked("pause", job)
    world.until(
        lambda: any(one["type"] == "job.asked" for one in world.json("trace", job)),
        "the owner's note of the pause",
    )
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    Path(f"{gate}.go").touch()
    world.ok("worker", "--until-idle")
    found = world.json("show", job)
    assert (found["status"], found["parked"]["reason"]) == ("parked", "paused")
    assert world.effects() == []
    world.ok("resume", job)
    world.ok("worker", "--until-idle")
    assert world.json("show", job)["status"] == "succeeded"
    assert len(world.effects()) == 1
    assert world.broken() == []


sent: list[str] = []


@tool(effect="unsafe")
async def charge() -> None:
    sent.append("charge")


@agent("charges")
async def charges(ctx: Context, message: str) -> None:  # noqa: ARG001 - the signature
    await ctx.call(charge)


@pytest.mark.parametrize(("what", "status"), [("cancel", "cancelled"), ("pause", "parked")])
def test_a_wish_that_a_dead_owner_has_noted_is_carried_out_by_the_next(
    tmp_path: Path, what: str, status: str
) -> None:
    url = f"sqlite:///{tmp_path / 'jobs.db'}"

    async def die_after_the_note() -> None:
        store = SqlStore.open(url, create=True)
        await store.register(
            WorkerRow(
                id="w1", host="h", boot="b", pid=1, lock_dir="d", space="", started_at=1,
                beat_at=1, expires_at=1, status=WorkerState.ALIVE, concurrency=1, agents="",
            )
        )  # fmt: skip
        await store.submit(NewJob("job_a", ev.JobSubmitted(agent="charges", root="job_a")), 1)
        (mine,) = await store.claim("w1", 1, 1, frozenset({"charges"}))
        row = mine.row
        tip = Tip(row.no, row.id, row.worker, row.epoch, row.seq, row.head, row.inbox_done)
        note = changes.inbox_read([ev.JobAsked(at=1, actor="me", what=what)], 0)
        done = asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()
        store.commit(
            [tip.seal(note)], 1, lambda *answer: loop.call_soon_threadsafe(done.set_result, answer)
        )
        assert await done == ([], None)
        await store.end_worker("w1", WorkerState.DEAD, 2)
        await store.close()

    asyncio.run(die_after_the_note())
    sent.clear()
    with Runtime(url, agents=[charges]) as runtime:
        assert runtime.job("job_a").wait(30).status == status
    assert sent == []
