"""What is submitted in one turn of the loop goes into one operation; each gets its own answer."""

import asyncio

from scene import NOW, Play, claim, worker

from aetheris_cli.domain import events as ev
from aetheris_cli.domain.changes import NewJob
from aetheris_cli.domain.errors import Conflict
from aetheris_cli.domain.history import fold
from aetheris_cli.domain.states import WorkerState
from aetheris_cli.ports.store import Started
from aetheris_cli.store.sqlstore import SqlStore

LARGE = "long text " * 10_000


def new(name: str, **fields: object) -> NewJob:
    return NewJob(f"job_{name}", ev.JobSubmitted(agent="a", root=f"job_{name}", **fields))


async def together(
    store: SqlStore, *wanted: NewJob, worker: str = ""
) -> list[Started | BaseException]:
    return await asyncio.gather(
        *(store.start(one, NOW, worker) for one in wanted), return_exceptions=True
    )


def test_many_at_once_are_each_a_whole_job(play: Play) -> None:
    async def scene(store: SqlStore) -> None:
        await worker(store, "w1")
        before = store.commit_count
        names = [f"{n:04}" for n in range(1_100)]
        found = await together(
            store, *(new(name, message=name, labels={"n": name}) for name in names), worker="w1"
        )
        assert store.commit_count - before <= 3
        rows = [one.row for one in found if isinstance(one, Started) and one.created]
        assert [row.id for row in rows] == [f"job_{name}" for name in names]
        assert len({row.no for row in rows}) == len(names)
        for row, name in zip(rows[::100], names[::100], strict=True):
            events = await store.events(row.no)
            history = fold(events)
            assert history.submitted is not None
            assert (history.submitted.message, history.worker) == (name, "w1")
            assert await store.job(row.id) == row
        assert await store.counts() == {"running": len(names)}

    play(scene)


def test_the_same_key_twice_in_one_turn_is_one_job(play: Play) -> None:
    async def scene(store: SqlStore) -> None:
        first, again, other, wrong, free = await together(
            store,
            new("a", key="k"),
            new("b", key="k"),
            new("c", key="l"),
            new("d", key="k", message="another"),
            new("e"),
        )
        assert isinstance(first, Started)
        assert isinstance(again, Started)
        assert (first.created, again.created) == (True, False)
        assert again.row == first.row
        assert isinstance(other, Started)
        assert other.created
        assert isinstance(wrong, Conflict)
        assert isinstance(free, Started)
        assert free.created
        assert await store.counts() == {"queued": 3}

    play(scene)


def test_the_same_id_twice_in_one_turn_is_one_job(play: Play) -> None:
    async def scene(store: SqlStore) -> None:
        first, again = await together(store, new("a"), new("a"))
        assert isinstance(first, Started)
        assert isinstance(again, Started)
        assert (first.created, again.created) == (True, False)
        assert again.row == first.row
        assert len(await store.events(first.row.no)) == 1

    play(scene)


def test_a_worker_that_has_lost_its_lease_does_not_spoil_the_others(play: Play) -> None:
    async def scene(store: SqlStore) -> None:
        await worker(store, "w1")
        await worker(store, "w2")
        await store.end_worker("w2", WorkerState.DEAD, NOW)
        found = await asyncio.gather(
            store.start(new("a"), NOW, "w1"),
            store.start(new("b"), NOW, "w2"),
            store.submit(new("c"), NOW),
        )
        assert [found[0].row.worker, found[1].row.worker, found[2][0].worker] == ["w1", "", ""]
        assert [len(found[0].events), found[1].events] == [2, []]
        assert [one.row.id for one in await claim(store, "w1")] == ["job_b", "job_c"]

    play(scene)


def test_a_caller_that_goes_away_takes_nobody_with_it(play: Play) -> None:
    async def scene(store: SqlStore) -> None:
        gone = asyncio.create_task(store.submit(new("a"), NOW))
        stays = asyncio.create_task(store.submit(new("b", message=LARGE), NOW))
        await asyncio.sleep(0)
        gone.cancel()
        row, created = await stays
        assert created
        (first,) = await store.events(row.no)
        assert isinstance(first, ev.JobSubmitted)
        assert first.message == LARGE
        assert gone.cancelled()
        # It was on its way already, so it is there, and whole.
        assert fold(await store.events((await store.job("job_a")).no)).status == "queued"

    play(scene)
