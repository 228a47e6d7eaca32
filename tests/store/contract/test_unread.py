"""What an owner leaves unread is taken when it is gone, whatever it leads to."""

from msgspec import Raw
from scene import NOW, Play, claim, commit, submit, tip, worker

from aetheris_cli.domain import changes, wishes
from aetheris_cli.domain import events as ev
from aetheris_cli.domain.changes import NewJob
from aetheris_cli.domain.events import Error
from aetheris_cli.domain.keys import Claim, Hold
from aetheris_cli.domain.records import Question
from aetheris_cli.domain.states import JobState, WorkerState
from aetheris_cli.store.check import check
from aetheris_cli.store.sqlstore import SqlStore

ARGS = Raw(b"{}")


def wanted(no: int, step: str, digest: str = "d") -> Claim:
    return Claim(no, "w1", 1, step, "charge", "k", digest)


def intent(step: str) -> changes.Change:
    return changes.intended(
        ev.CallIntended(
            at=NOW, step=step, tool="charge", effect="unsafe", args=ARGS, digest="d", schema="s",
            key="k",
        )
    )  # fmt: skip


def test_a_settlement_that_frees_a_key_for_the_same_job_is_taken_once(play: Play) -> None:
    async def scene(store: SqlStore) -> None:
        await worker(store, "w1")
        await submit(store, "a")
        (mine,) = await claim(store, "w1")
        at, no = tip(mine), mine.row.no
        assert (await store.hold_key(wanted(no, "1"), NOW)).how is Hold.OURS
        why = "lost: whether it happened is unknown"
        doubt = ev.CallInDoubt(at=NOW, step="1", error=Error("lost", "lost"), cause=3)
        asked = wishes.doubt_question("1", "charge", "d", "s", ARGS, why, NOW)
        await commit(store, at.seal(intent("1")), at.seal(changes.in_doubt(doubt, asked)))
        assert (await store.hold_key(wanted(no, "2"), NOW)).how is Hold.WAIT
        settled = wishes.settle("job_a", "1", "me", verdict="happened", result=Raw(b"1"))
        await store.deliver(settled, NOW)
        await store.deliver(wishes.signal("job_a", "go", Raw(b"1"), "me"), NOW)
        (row,) = await store.end_worker("w1", WorkerState.DEAD, NOW)
        assert (row.status, row.inbox_seq, row.inbox_done) == (JobState.QUEUED, 3, 3)
        assert row == await store.job("job_a")
        kinds = [type(event) for event in await store.events(no)]
        assert kinds.count(ev.CallSettled) == kinds.count(ev.SignalReceived) == 1
        assert check(store.path) == []

    play(scene)


def test_a_cancel_reaches_the_child_that_the_same_owner_has_left(play: Play) -> None:
    async def scene(store: SqlStore) -> None:
        await worker(store, "w1")
        await submit(store, "p")
        (parent,) = await claim(store, "w1")
        started = ev.ChildStarted(at=NOW, step="1", child="job_c", agent="a", digest="d")
        submitted = ev.JobSubmitted(agent="a", root="job_p", parent="job_p.1")
        question = Question(step="1", kind="child", since=NOW, name="job_c")
        spawned = changes.asked(started, question, spawn=[NewJob("job_c", submitted)])
        assert await commit(store, tip(parent).seal(spawned)) == []
        assert len(await claim(store, "w1")) == 1
        await store.deliver(wishes.cancel("job_p", "me"), NOW)
        await store.end_worker("w1", WorkerState.DEAD, NOW)
        for name in ("job_p", "job_c"):
            row = await store.job(name)
            assert row.status is JobState.CANCELLED
            assert row.inbox_seq == row.inbox_done == len(await store.inbox(row.no))

    play(scene)


def test_a_key_is_bound_to_the_arguments_with_which_it_is_asked_for_last(play: Play) -> None:
    async def scene(store: SqlStore) -> None:
        await worker(store, "w1")
        await submit(store, "a")
        (mine,) = await claim(store, "w1")
        for digest in ("before a crash", "d"):
            held = await store.hold_key(wanted(mine.row.no, "1", digest), NOW)
            assert held.how is Hold.OURS
        await commit(store, tip(mine).seal(intent("1")))
        assert check(store.path) == []

    play(scene)
