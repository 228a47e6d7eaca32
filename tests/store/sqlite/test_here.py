"""A commit in its own caller's thread: when nothing is in its way, and with the same result."""

import asyncio
import threading

import pytest
from scene import NOW, Play, claim, commit, log, submit, texts, tip, whole, worker

from aetheris_cli.domain.changes import Change, Tip
from aetheris_cli.ports.store import Claimed, Refused
from aetheris_cli.store import threads
from aetheris_cli.store.sqlite_lib import sqlite3
from aetheris_cli.store.sqlstore import SqlStore
from aetheris_cli.store.turnstile import Turnstile


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    # However slow this disk is, it passes for a quick one.
    monkeypatch.setattr(threads, "QUICK_S", 3_600.0)


class Told:
    """What was replied, and in which thread."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.thread = 0
        self.refused: list[Refused] | None = None
        self.error: BaseException | None = None
        self.event = asyncio.Event()

    def reply(self, refused: list[Refused] | None, error: BaseException | None) -> None:
        self.thread, self.refused, self.error = threading.get_ident(), refused, error
        self.loop.call_soon_threadsafe(self.event.set)

    @property
    def here(self) -> bool:
        return self.thread == threading.get_ident()


async def warmed_up(store: SqlStore) -> tuple[Claimed, Tip]:
    """Give a job whose owner has written so often that its disk is known to be quick."""
    await worker(store, "w1")
    await submit(store, "a")
    (mine,) = await claim(store, "w1")
    at = tip(mine)
    for _ in range(threads.QUICK_ONES):
        await commit(store, at.seal(log("before")))
    return mine, at


def put(store: SqlStore, change: Change) -> Told:
    told = Told()
    store.commit([change], NOW, told.reply, here=True)
    return told


def test_it_is_durable_when_it_returns(play: Play) -> None:
    async def scene(store: SqlStore) -> None:
        mine, at = await warmed_up(store)
        told = put(store, at.seal(log("here")))
        assert told.here
        assert told.refused == []
        with sqlite3.connect(store.path) as other:
            (found,) = other.execute("SELECT count(*) FROM events WHERE body LIKE '%here%'")
        other.close()
        assert found == (1,)
        await whole(store, mine)

    play(scene)


def test_a_fence_that_does_not_hold_refuses_here_as_there(play: Play) -> None:
    async def scene(store: SqlStore) -> None:
        mine, at = await warmed_up(store)
        at.epoch += 1
        late = at.seal(log("late"))
        told = put(store, late)
        assert told.here
        assert [one.changes for one in told.refused or ()] == [[late]]
        assert "late" not in await texts(store, mine.row.no)
        await whole(store, mine)

    play(scene)


def test_it_does_not_wait_for_another_process_here(play: Play) -> None:
    async def scene(store: SqlStore) -> None:
        mine, at = await warmed_up(store)
        other = Turnstile(store.locks)
        assert other.enter(wait=False)
        told = put(store, at.seal(log("later")))
        assert not told.event.is_set()
        assert told.thread == 0
        other.leave()
        await told.event.wait()
        assert not told.here
        assert (await texts(store, mine.row.no))[-1] == "later"
        other.close()

    play(scene)


def test_it_does_not_wait_for_a_foreign_program_here(play: Play) -> None:
    async def scene(store: SqlStore) -> None:
        mine, at = await warmed_up(store)
        foreign = sqlite3.connect(store.path, isolation_level=None)
        foreign.execute("BEGIN IMMEDIATE")
        told = put(store, at.seal(log("later")))
        assert told.thread == 0
        foreign.execute("ROLLBACK")
        foreign.close()
        await told.event.wait()
        assert (told.here, told.error) == (False, None)
        assert (await texts(store, mine.row.no))[-1] == "later"

    play(scene)


def test_a_slow_disk_holds_up_nobody(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(store: SqlStore) -> None:
        _, at = await warmed_up(store)
        monkeypatch.setattr(threads, "QUICK_S", 0.0)
        assert put(store, at.seal(log("the last one here"))).here
        told = put(store, at.seal(log("elsewhere")))
        await told.event.wait()
        assert not told.here

    play(scene)
