"""Submitting, claiming, and what jobs of one family do to each other."""

import pytest
from scene import AGENTS, NOW, Play, claim, commit, submit, tip, whole, worker

from aetheris_cli.domain import changes, wishes
from aetheris_cli.domain import events as ev
from aetheris_cli.domain.changes import NewJob
from aetheris_cli.domain.errors import Conflict
from aetheris_cli.domain.history import fold
from aetheris_cli.domain.records import Question
from aetheris_cli.domain.states import JobState, ParkedReason, WorkerState
from aetheris_cli.ports.store import Claimed
from aetheris_cli.store.sqlstore import SqlStore


async def agrees(store: SqlStore, job: str) -> None:
    """Hold the row against the history that it is a projection of."""
    row = await store.job(job)
    history = fold(await store.events(row.no))
    parked = history.parked.reason if history.parked is not None else ""
    assert (row.status, row.worker, row.epoch) == (history.status, history.worker, history.epoch)
    assert (row.parked, row.seq) == (parked, history.seq)
    await whole(store, Claimed(row, []))


@pytest.mark.parametrize("child_first", [True, False])
def test_a_child_that_ends_in_the_commit_in_which_its_parent_parks_wakes_it(
    play: Play, *, child_first: bool
) -> None:
    async def scene(store: SqlStore) -> None:
        await worker(store, "w1")
        await submit(store, "p")
        (parent,) = await claim(store, "w1")
        at = tip(parent)
        started = ev.ChildStarted(at=NOW, step="1", child="job_c", agent="a", digest="d")
        submitted = ev.JobSubmitted(agent="a", root="job_p", parent="job_p.1")
        question = Question(step="1", kind="child", since=NOW, name="job_c")
        asked = changes.asked(started, question, spawn=[NewJob("job_c", submitted)])
        assert await commit(store, at.seal(asked)) == []
        (child,) = await claim(store, "w1")
        end = ev.JobSucceeded(at=NOW)
        child.row.status = JobState.SUCCEEDED
        told = wishes.child_finished(child.row, end)
        ended = tip(child).seal(changes.ended(end, deliver=[told]))
        park = ev.JobParked(at=NOW, reason=ParkedReason.CHILD, steps=("1",))
        parked = at.seal(changes.parked(park, ParkedReason.CHILD))
        both = (ended, parked) if child_first else (parked, ended)
        assert await commit(store, *both) == []
        row = await store.job("job_p")
        assert (row.status, row.inbox_done) == (JobState.QUEUED, row.inbox_seq)
        await agrees(store, "job_p")
        await agrees(store, "job_c")

    play(scene)


def test_a_read_inbox_without_events_of_its_own_is_written(play: Play) -> None:
    async def scene(store: SqlStore) -> None:
        await worker(store, "w1")
        await submit(store, "a")
        (mine,) = await claim(store, "w1")
        await store.deliver(wishes.pause(mine.row.id, "me"), NOW)
        at = tip(mine)
        at.inbox_seq = 1
        assert await commit(store, at.seal(changes.inbox_read([], 1))) == []
        row = await store.job(mine.row.id)
        assert (row.inbox_done, row.seq) == (1, mine.row.seq)
        await agrees(store, row.id)

    play(scene)


def new(name: str, **fields: object) -> NewJob:
    return NewJob(f"job_{name}", ev.JobSubmitted(agent="a", root=f"job_{name}", **fields))


def test_a_job_that_starts_at_once_is_owned_by_its_own_insert(play: Play) -> None:
    async def scene(store: SqlStore) -> None:
        await worker(store, "w1")
        found = await store.start(new("a"), NOW, "w1")
        assert (found.created, found.row.status, found.row.worker) == (True, "running", "w1")
        assert fold(found.events) == fold(await store.events(found.row.no))
        assert await claim(store, "w1") == []
        await agrees(store, "job_a")
        # And it is taken over like any other.
        await store.end_worker("w1", WorkerState.DEAD, NOW)
        await worker(store, "w2")
        (again,) = await claim(store, "w2")
        assert again.row.epoch > found.row.epoch
        await agrees(store, "job_a")

    play(scene)


def test_a_worker_without_a_lease_starts_nothing(play: Play) -> None:
    async def scene(store: SqlStore) -> None:
        await worker(store, "w1")
        await store.end_worker("w1", WorkerState.DEAD, NOW)
        found = await store.start(new("a"), NOW, "w1")
        assert (found.created, found.row.status, found.events) == (True, "queued", [])
        await agrees(store, "job_a")

    play(scene)


def test_jobs_of_agents_that_it_does_not_have_are_not_in_a_workers_way(play: Play) -> None:
    async def scene(store: SqlStore) -> None:
        await worker(store, "w1")
        mine, others = frozenset({"a"}), frozenset({"b"})
        for n in range(40):
            event = ev.JobSubmitted(agent="b", root=f"job_b{n}", priority=9, run_at=n % 2)
            await store.submit(NewJob(f"job_b{n}", event), NOW)
        assert (await store.due(mine), await store.due(others)) == (0, 1)
        await store.submit(new("late", run_at=NOW + 10), NOW)
        assert await store.due(mine) == NOW + 10
        await store.submit(new("a"), NOW)
        assert await store.due(mine) == 1
        (one,) = await store.claim("w1", 1, NOW, mine)
        assert one.row.id == "job_a"
        assert await store.claim("w1", 1, NOW, mine) == []
        # Of several agents, the most urgent job of any.
        await store.submit(new("c", priority=10), NOW)
        found = await store.claim("w1", 22, NOW, mine | others)
        assert [row.id for row, _ in found[-2:]] == ["job_c", "job_b0"]
        assert [row.run_at for row, _ in found[:20]] == [1] * 20

    play(scene)


def test_the_same_key_starts_one_job(play: Play) -> None:
    async def scene(store: SqlStore) -> None:
        await worker(store, "w1")
        first = await store.start(new("a", key="k"), NOW, "w1")
        again = await store.start(new("b", key="k"), NOW, "w1")
        assert (again.created, again.row.id, again.events) == (False, first.row.id, [])
        with pytest.raises(Conflict):
            await store.submit(new("c", key="k", message="another"), NOW)
        assert await store.counts() == {"running": 1}

    play(scene)


def test_jobs_are_claimed_by_urgency_and_then_by_age(play: Play) -> None:
    async def scene(store: SqlStore) -> None:
        await worker(store, "w1")
        for name, priority in (("a", 0), ("b", 5), ("c", 0), ("d", 5)):
            await store.submit(new(name, priority=priority), NOW)
        order = []
        for _ in range(4):
            (one,) = await store.claim("w1", 1, NOW, AGENTS)
            order.append(one.row.id[-1])
        assert order == ["b", "d", "a", "c"]

    play(scene)


def test_a_delayed_job_is_due_at_its_time_and_not_before(play: Play) -> None:
    async def scene(store: SqlStore) -> None:
        await worker(store, "w1")
        await store.submit(new("a", run_at=NOW + 10), NOW)
        assert await store.due(AGENTS) == NOW + 10
        assert await store.claim("w1", 1, NOW + 9, AGENTS) == []
        (one,) = await store.claim("w1", 1, NOW + 10, AGENTS)
        assert one.row.id == "job_a"
        await agrees(store, "job_a")

    play(scene)


def test_a_root_claims_itself_and_its_children_alone(play: Play) -> None:
    async def scene(store: SqlStore) -> None:
        await worker(store, "w1")
        await store.submit(new("a"), NOW)
        await store.submit(new("b"), NOW)
        child = NewJob("job_c", ev.JobSubmitted(agent="a", root="job_b", parent="job_b.1"))
        await store.submit(child, NOW)
        found = await store.claim("w1", 9, NOW, AGENTS, root="job_b")
        assert sorted(one.row.id for one in found) == ["job_b", "job_c"]
        assert [one.row.id for one in await claim(store, "w1")] == ["job_a"]

    play(scene)
