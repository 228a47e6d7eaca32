"""The fence of a commit: what a worker writes of a job that is no longer as it believes."""

import pytest
from scene import NOW, Play, claim, commit, log, submit, texts, tip, whole, worker

from aetheris_cli.domain import changes, wishes
from aetheris_cli.domain import events as ev
from aetheris_cli.domain.states import WorkerState
from aetheris_cli.store.sqlstore import SqlStore


def test_what_its_owner_writes_is_kept_and_chained(play: Play) -> None:
    async def scene(store: SqlStore) -> None:
        await worker(store, "w1")
        await submit(store, "a")
        (mine,) = await claim(store, "w1")
        at = tip(mine)
        assert await commit(store, at.seal(log("one")), at.seal(log("two"))) == []
        assert await texts(store, mine.row.no) == ["one", "two"]
        await whole(store, mine)

    play(scene)


def test_a_worker_that_lost_its_lease_writes_nothing(play: Play) -> None:
    async def scene(store: SqlStore) -> None:
        await worker(store, "w1")
        await worker(store, "w2")
        await submit(store, "a")
        (old,) = await claim(store, "w1")
        late = tip(old).seal(log("late"))
        await store.end_worker("w1", WorkerState.DEAD, NOW)
        (new,) = await claim(store, "w2")
        assert new.row.epoch > old.row.epoch
        (refused,) = await commit(store, late)
        assert (refused.stale, refused.changes) == (False, [late])
        assert await texts(store, old.row.no) == []
        await whole(store, new)

    play(scene)


@pytest.mark.parametrize("shift", [-1, 1])
def test_the_epoch_is_compared_even_when_all_else_fits(play: Play, shift: int) -> None:
    async def scene(store: SqlStore) -> None:
        await worker(store, "w1")
        await submit(store, "a")
        (mine,) = await claim(store, "w1")
        at = tip(mine)
        at.epoch += shift
        (refused,) = await commit(store, at.seal(log("of another epoch")))
        assert not refused.stale
        assert await texts(store, mine.row.no) == []

    play(scene)


def test_a_refused_change_takes_down_the_later_ones_of_its_job_and_no_other(
    play: Play,
) -> None:
    async def scene(store: SqlStore) -> None:
        await worker(store, "w1")
        await submit(store, "a")
        await submit(store, "b")
        first, second = await claim(store, "w1")
        await store.deliver(wishes.cancel(first.row.id, "me"), NOW)
        at, other = tip(first), tip(second)
        intent = at.seal(changes.intended(ev.CallIntended(at=NOW, step="1", tool="t")))
        later = at.seal(log("built on the intent"))
        (refused,) = await commit(store, intent, other.seal(log("of b")), later)
        assert refused.stale
        assert refused.changes == [intent, later]
        assert await texts(store, first.row.no) == []
        assert await texts(store, second.row.no) == ["of b"]
        await whole(store, first)
        await whole(store, second)

    play(scene)


def test_no_intent_is_written_after_an_acknowledged_wish(play: Play) -> None:
    async def scene(store: SqlStore) -> None:
        await worker(store, "w1")
        await submit(store, "a")
        (mine,) = await claim(store, "w1")
        receipt = await store.deliver(wishes.cancel(mine.row.id, "me"), NOW)
        assert receipt.owner == "w1"
        intent = tip(mine).seal(changes.intended(ev.CallIntended(at=NOW, step="1", tool="t")))
        (refused,) = await commit(store, intent)
        assert refused.stale
        # A result guards on the epoch alone: what was received is never dropped.
        assert await commit(store, tip(mine).seal(log("a result"))) == []

    play(scene)


def test_a_decision_is_taken_once_whoever_owns_the_job(play: Play) -> None:
    async def scene(store: SqlStore) -> None:
        await worker(store, "w1")
        await submit(store, "a")
        (mine,) = await claim(store, "w1")
        first = await store.deliver(wishes.cancel(mine.row.id, "me"), NOW)
        again = await store.deliver(wishes.cancel(mine.row.id, "you"), NOW)
        assert (first.new, again.new) == (True, False)
        assert again.first.actor == "me"

    play(scene)
