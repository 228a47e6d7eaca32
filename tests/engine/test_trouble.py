"""A store that cannot be written for a while: the worker says so, waits, and loses nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from stage import (  # type: ignore[import-not-found]
    Doors,
    Moved,
    alive,
    done,
    parked,
    slow_writes,
    until,
    until_there,
)

from aetheris import Context, Runtime, agent, current_call, tool
from aetheris_cli.store import threads
from aetheris_cli.store.sqlite_lib import sqlite3

Start = Callable[..., Runtime]
Trouble = Callable[[Runtime], Any]


@agent("sleeps")
async def sleeps(ctx: Context, _message: str) -> str:
    await ctx.sleep("1h")
    return "awake"


@contextmanager
def busy(runtime: Runtime, url: str) -> Iterator[None]:
    """Let another program hold SQLite's write lock, with no turnstile before it."""
    del runtime
    other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@contextmanager
def full(runtime: Runtime, url: str) -> Iterator[None]:
    """Let the file be as large as it may become, for the connection that writes."""
    del url
    writer = runtime.session.store._writer  # noqa: SLF001 - the limit is the connection's own
    with slow_writes(runtime):
        (pages,) = writer._conn.execute("PRAGMA page_count").fetchone()  # noqa: SLF001
        (most,) = writer._conn.execute("PRAGMA max_page_count").fetchone()  # noqa: SLF001
        writer._conn.execute(f"PRAGMA max_page_count = {pages}")  # noqa: SLF001
    try:
        yield
    finally:
        with slow_writes(runtime):
            writer._conn.execute(f"PRAGMA max_page_count = {most}")  # noqa: SLF001


@pytest.mark.parametrize("trouble", [busy, full])
def test_a_worker_waits_until_its_store_can_be_written_again(
    start: Start,
    doors: Doors,
    clock: Moved,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    trouble: Any,
) -> None:
    monkeypatch.setattr(threads, "BUSY_MS", 50)
    sent: list[int] = []
    told: list[str] = []

    @tool(effect="unsafe")
    async def charge() -> str:
        sent.append(current_call().attempt)
        await doors["in the tool"].through()
        return "charged " * 1_000

    @agent("pays")
    async def pays(ctx: Context, _message: str) -> Any:
        return (await ctx.call(charge))[:7]

    runtime = start(pays, sleeps)
    worker = runtime._worker  # noqa: SLF001 - it has no other listener
    assert worker is not None
    worker.on_trouble = told.append
    sleepers = [runtime.submit(sleeps, "x" * 3_000) for _ in range(30)]
    for job in sleepers:
        parked(job, "timer")
    payment = runtime.submit(pays)
    doors["in the tool"].is_reached()

    async def wake() -> None:
        runtime.session.store.ring()

    with trouble(runtime, url):
        # All are due, so the worker wants to claim; and a result waits to be written.
        clock.ms += 2 * 60 * 60 * 1_000
        runtime.ask(wake())
        until(lambda: told, "the word that the store cannot be written")
        doors["in the tool"].open()
        until(lambda: worker.sending == 0, "the end of the call")
        assert told[0]
        assert alive(runtime)
        assert payment.refresh().status == "running"
    for job in sleepers:
        assert done(job).output == "awake"
    assert done(payment).output == "charged"
    until(lambda: told[-1] == "", "the word that all is well")
    assert sent == [1]
    until_there(runtime, payment, "call.succeeded")
