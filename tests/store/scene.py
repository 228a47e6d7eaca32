"""What the tests of the store are played with: an open store, workers, jobs, commits."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from aetheris_cli.domain import events as ev
from aetheris_cli.domain.chain import first_break
from aetheris_cli.domain.changes import Change, NewJob, Tip
from aetheris_cli.domain.records import WorkerRow
from aetheris_cli.ports.store import Claimed, Refused
from aetheris_cli.store.sqlstore import SqlStore

NOW = 1_000
AGENTS = frozenset({"a", "b"})
Scene = Callable[[SqlStore], Coroutine[Any, Any, None]]
Play = Callable[[Scene], None]
"""Plays a scene on a fresh, open store."""


def player(url: str) -> Play:
    """Give what plays scenes on the store at `url`."""

    def play(scene: Scene) -> None:
        async def inside() -> None:
            store = SqlStore.open(url, create=True)
            try:
                await scene(store)
            finally:
                await store.close()

        asyncio.run(inside())

    return play


async def worker(store: SqlStore, name: str) -> None:
    await store.register(
        WorkerRow(
            id=name, host="h", boot="b", pid=1, lock_dir="d", space="", started_at=NOW, beat_at=NOW,
            expires_at=NOW, status="alive", concurrency=9, agents="a",
        )
    )  # fmt: skip


async def submit(store: SqlStore, name: str) -> None:
    await store.submit(NewJob(f"job_{name}", ev.JobSubmitted(agent="a", root=f"job_{name}")), NOW)


async def claim(store: SqlStore, name: str) -> list[Claimed]:
    return await store.claim(name, 9, NOW, AGENTS)


def tip(claimed: Claimed) -> Tip:
    row = claimed.row
    return Tip(row.no, row.id, row.worker, row.epoch, row.seq, row.head, row.inbox_done)


def log(text: str) -> Change:
    return Change([ev.LogWritten(at=NOW, text=text)])


async def commit(store: SqlStore, *given: Change) -> list[Refused]:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[list[Refused]] = loop.create_future()

    def reply(refused: list[Refused] | None, error: BaseException | None) -> None:
        def settle() -> None:
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(refused or [])

        loop.call_soon_threadsafe(settle)

    store.commit(given, NOW, reply)
    return await done


async def texts(store: SqlStore, no: int) -> list[str]:
    return [one.text for one in await store.events(no) if isinstance(one, ev.LogWritten)]


async def whole(store: SqlStore, claimed: Claimed) -> None:
    lines = await store.lines(claimed.row.no, 0, 1_000)
    assert first_break(claimed.row.id, lines) is None
