"""What the engine's tests are played with: doors, and ways to look at a runtime and to hold it.

Nothing here waits for a time to pass: whoever waits, waits for the test or for something that
another thread must do.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Self

from aetheris import Job, Runtime
from aetheris_cli.engine.replay import replay
from aetheris_cli.engine.run import Run
from aetheris_cli.ports import clock as clocks
from aetheris_cli.store.threads import ask

LIMIT_S = 60
"""A bound on a test that fails; no test passes by it."""


def until(true: Callable[[], Any], what: str) -> None:
    """Wait for what another thread must do."""
    end = time.monotonic() + LIMIT_S
    while not true():
        assert time.monotonic() < end, f"this did not come: {what}"
        time.sleep(0.002)


class Door:
    """A place where code of a job waits until the test opens it: on the loop or in a thread."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._opened = threading.Event()
        self._inside: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        self._lock = threading.Lock()

    async def through(self) -> None:
        """Wait, and let the loop go on."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self._lock:
            if self._opened.is_set():
                return
            self._inside.append((loop, future))
        self.reached.set()
        await future

    def through_here(self) -> None:
        """Wait in this thread, which may be that of the loop."""
        self.reached.set()
        assert self._opened.wait(LIMIT_S)

    def is_reached(self) -> None:
        """Wait until somebody stands at the door."""
        assert self.reached.wait(LIMIT_S), "nobody came to the door"

    def open(self) -> None:
        """Let everybody through, from now on."""
        self._opened.set()
        with self._lock:
            for loop, future in self._inside:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(_let, future)

    def close(self) -> Self:
        """Hold whoever comes from now on."""
        self.__init__()  # type: ignore[misc]
        return self


def _let(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


class Doors(dict[str, Door]):
    """The doors of a test, made when they are first named. All are open in the end."""

    def __missing__(self, name: str) -> Door:
        self[name] = Door()
        return self[name]

    def open_all(self) -> None:
        """Let nobody stand anywhere any more."""
        for door in list(self.values()):
            door.open()


class Moved:
    """The wall clock and the dice of this process, in the hands of the test."""

    def __init__(self) -> None:
        self.ms = 0
        self.rolled = 0.0
        self._real = clocks.SystemClock.now_ms
        self._stands_at = 0

    def now_ms(self) -> int:
        """Give the time, moved."""
        return self._stands_at or self._real(clocks.SystemClock()) + self.ms

    def stand(self) -> None:
        """Let no time pass from now on: what waits for a time waits."""
        self._stands_at = self.now_ms()

    def go_on(self) -> None:
        """Let time pass again."""
        self._stands_at = 0

    def roll(self) -> float:
        """Give what the test has chosen."""
        return self.rolled


def now_ms() -> int:
    """Give the time that a runtime of this process sees."""
    return clocks.SystemClock().now_ms()


# --- looking ---------------------------------------------------------------------------------


def events(runtime: Runtime, job: Job, kind: str = "") -> list[Any]:
    """Give the durable events of a job, of one kind or all."""

    async def look() -> list[Any]:
        return [one async for one in runtime.session.control.events(job.id)]

    return [one for one in runtime.ask(look()) if kind in {"", one["type"]}]


def until_there(runtime: Runtime, job: Job, kind: str, times: int = 1) -> None:
    """Wait until the history on the disk has so many events of a kind."""
    until(lambda: len(events(runtime, job, kind)) >= times, f"{times} {kind}")


def parked(job: Job, reason: str) -> Job:
    """Wait until a job waits for that, or fail with what it does instead."""

    def there() -> bool:
        found = job.refresh()
        assert found.status not in {"succeeded", "failed", "cancelled"}, (found.status, found.error)
        return found.parked is not None and found.parked["reason"] == reason

    until(there, f"the park for {reason}; it is {job.refresh().status} for {job.parked}")
    return job


def done(job: Job) -> Job:
    """Wait for the end, past everything the job may wait for."""
    return job.wait(goal="step:none", timeout=LIMIT_S)


def repeats(runtime: Runtime, job: Job) -> bool:
    """Whether the code does again what the history says; else fail with the difference."""

    async def look() -> Any:
        session = runtime.session
        row = await session.store.find(job.id)
        found = await session.store.events(row.no)
        async with asyncio.timeout(LIMIT_S):
            return await replay(
                session.registry.agent(row.agent), row, found, session.registry, session.clock
            )

    found = runtime.ask(look())
    assert found.matched, found
    return True


def run_of(runtime: Runtime, job: Job) -> Run | None:
    """Give what the worker of this runtime has of a job in memory."""
    worker = runtime._worker  # noqa: SLF001 - there is no other way to see it
    assert worker is not None
    return next((one for one in list(worker.runs.values()) if one.job == job.id), None)


def alive(runtime: Runtime) -> bool:
    """Whether the runtime's worker still works."""
    thread = runtime._thread  # noqa: SLF001 - there is no other way to see it
    return thread is not None and thread.is_alive() and runtime._error is None  # noqa: SLF001


def closed(runtime: Runtime) -> None:
    """Close a runtime; fail if it does not come to an end."""
    in_background(lambda: runtime.__exit__(None, None, None)).result(LIMIT_S)


def stop_soon(runtime: Runtime) -> None:
    """Tell a worker to stop, as a signal of the system does; it hears it when its loop goes on."""
    loop, worker = runtime._loop, runtime._worker  # noqa: SLF001 - what a runtime does at its end
    assert loop is not None
    assert worker is not None
    loop.call_soon_threadsafe(worker.stop)


# --- holding ---------------------------------------------------------------------------------


@contextmanager
def busy_loop(runtime: Runtime) -> Iterator[None]:
    """Hold the event loop of a runtime: what comes meanwhile is all there when it goes on."""
    door = Door()

    async def hold() -> None:
        door.through_here()

    asked = in_background(lambda: runtime.ask(hold()))
    door.is_reached()
    try:
        yield
    finally:
        door.open()
        asked.result(LIMIT_S)


@contextmanager
def slow_reads(runtime: Runtime) -> Iterator[None]:
    """Hold the reading thread of a runtime's store, as a slow disk would."""
    door = Door()
    reader = runtime.session.store._reader  # noqa: SLF001 - only its own thread can hold it

    def hold() -> Any:
        door.through_here()
        yield from ()

    asked = in_background(lambda: runtime.ask(ask(reader, hold)))
    door.is_reached()
    try:
        yield
    finally:
        door.open()
        asked.result(LIMIT_S)


@contextmanager
def slow_writes(runtime: Runtime) -> Iterator[None]:
    """Hold the writing thread of a runtime's store before its next transaction."""
    with runtime.session.store._writer._desk:  # noqa: SLF001 - only who has the desk can hold it
        yield


def in_background(work: Callable[[], Any]) -> "Future[Any]":
    """Do something in a thread that nothing has to wait for."""
    found: Future[Any] = Future()

    def body() -> None:
        try:
            found.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it belongs to who waits
            found.set_exception(error)

    threading.Thread(target=body, daemon=True).start()
    return found
