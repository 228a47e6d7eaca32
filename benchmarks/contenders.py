"""One contender in one process: `python -m benchmarks.contenders NAME FLIGHT JOBS STEPS`.

Each runs JOBS jobs of STEPS trivial async steps with FLIGHT of them at a time and prints one
JSON line. A process of its own makes CPU and memory its own.
"""

import asyncio
import json
import os
import resource
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any


class Meter:
    """Wall time, CPU time and the latency of each job."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def restart(self) -> None:
        """Begin here: what came before was warming up."""
        self.__init__()  # type: ignore[misc]

    def report(self, steps: int, **more: Any) -> dict[str, Any]:
        """Give the figures of `steps` steps."""
        wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        ordered = sorted(self.latencies) or [0.0]
        return {
            "steps_s": steps / wall,
            "cpu_us": cpu / steps * 1e6,
            "p50_ms": ordered[len(ordered) // 2] * 1e3,
            "p99_ms": ordered[int(len(ordered) * 0.99)] * 1e3,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            **more,
        }


async def flights(jobs: int, flight: int, one: Callable[[], Awaitable[Any]], meter: Meter) -> None:
    """Run `jobs` of `one`, `flight` at a time."""
    left = iter(range(jobs))

    async def lane() -> None:
        for _ in left:
            began = time.perf_counter()
            await one()
            meter.latencies.append(time.perf_counter() - began)

    await asyncio.gather(*(lane() for _ in range(flight)))


async def aetheris(effect: str, flight: int, jobs: int, steps: int, folder: str) -> dict[str, Any]:
    """Ourselves: submit, claim, run and end through the real engine, in one process."""
    from aetheris import agent, tool
    from aetheris_cli.app.registry import CodeRegistry
    from aetheris_cli.app.session import opened, settle_in
    from aetheris_cli.engine.worker import Settings

    @tool(effect=effect)
    async def step(n: int) -> int:
        return n

    @agent("bench")
    async def bench(ctx: Any, _message: str) -> None:
        for n in range(steps):
            await ctx.call(step, n=n)

    path = Path(folder) / "store.db"
    async with opened(f"sqlite:///{path}", CodeRegistry([bench]), create=True) as session:
        worker = session.worker(Settings(concurrency=max(flight, 2)))
        await worker.begin()
        session.control.keeper = worker
        settle_in()  # as `aetheris worker` does
        serving = asyncio.create_task(worker.serve())
        ends: dict[str, asyncio.Event] = {}

        def over(job: str) -> None:
            ends[job].set()

        worker.on_over = over

        async def one() -> None:
            new = session.control.new_job("bench", "x")
            ended = ends[new.id] = asyncio.Event()
            await session.control.submit(new)
            await ended.wait()
            del ends[new.id]

        meter = Meter()
        await flights(flight, flight, one, meter)
        before = session.store.commit_count
        meter.restart()
        await flights(jobs, flight, one, meter)
        found = meter.report(jobs * steps)
        commits = session.store.commit_count - before
        worker.stop()
        await serving
        counts = await session.store.counts()
    if counts.get("succeeded") != jobs + flight:
        raise RuntimeError(f"not all jobs succeeded: {counts}")
    size = path.stat().st_size
    return found | {
        "commits_s": commits / (jobs * steps) * found["steps_s"],
        "bytes": size / ((jobs + flight) * steps),
    }


def dbos(mode: str, flight: int, jobs: int, steps: int, folder: str) -> dict[str, Any]:
    """Run the same work as DBOS workflows on its SQLite default, or forced to WAL."""
    from dbos import DBOS  # type: ignore[import-not-found]

    path = Path(folder) / "dbos.sqlite"
    if mode == "wal":
        with sqlite3.connect(path) as conn:
            conn.execute("PRAGMA journal_mode = WAL")
    DBOS(
        config={
            "name": "bench",
            "system_database_url": f"sqlite:///{path}",
            "log_level": "ERROR",
            "run_admin_server": False,
        }
    )

    @DBOS.step()  # type: ignore[misc]
    async def step(n: int) -> int:
        return n

    @DBOS.workflow()  # type: ignore[misc]
    async def bench(_message: str) -> None:
        for n in range(steps):
            await step(n)

    async def play() -> dict[str, Any]:
        meter = Meter()
        await flights(min(flight, 8), min(flight, 8), lambda: bench("warm"), meter)
        meter.restart()
        await flights(jobs, flight, lambda: bench("x"), meter)
        return meter.report(jobs * steps)

    DBOS.launch()
    return asyncio.run(play())


async def bare(mode: str, flight: int, jobs: int, steps: int, folder: str) -> dict[str, Any]:
    """Do the least that keeps the promise: one row before a step, awaited, and one after it.

    `group`: all that waits goes into one commit. `each`: one commit for each row.
    """
    conn = sqlite3.connect(Path(folder) / "bare.db", check_same_thread=False, isolation_level=None)
    conn.execute("PRAGMA journal_mode = WAL")
    conn.execute("PRAGMA synchronous = FULL")
    conn.execute("CREATE TABLE log (id INTEGER PRIMARY KEY, body TEXT)")
    loop = asyncio.get_running_loop()
    queue: SimpleQueue[tuple[str, asyncio.Future[None] | None] | None] = SimpleQueue()
    commits = 0

    def serve() -> None:
        nonlocal commits
        while (item := queue.get()) is not None:
            batch = [item]
            while mode == "group" and not queue.empty():
                more = queue.get()
                if more is None:
                    return
                batch.append(more)
            conn.execute("BEGIN IMMEDIATE")
            conn.executemany("INSERT INTO log (body) VALUES (?)", [(text,) for text, _ in batch])
            conn.execute("COMMIT")
            commits += 1
            waiting = [future for _, future in batch if future is not None]
            if waiting:
                loop.call_soon_threadsafe(wake, waiting)

    def wake(waiting: list["asyncio.Future[None]"]) -> None:
        for future in waiting:
            future.set_result(None)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    body = "x" * 300

    async def one() -> None:
        for _ in range(steps):
            future: asyncio.Future[None] = loop.create_future()
            queue.put((body, future))
            await future
            queue.put((body, None))

    meter = Meter()
    await flights(jobs, flight, one, meter)
    found = meter.report(jobs * steps)
    queue.put(None)
    return found | {"commits_s": commits / (jobs * steps) * found["steps_s"]}


def main() -> None:
    """Run one contender and print what was measured."""
    name, flight, jobs, steps = sys.argv[1], *map(int, sys.argv[2:5])
    kind, _, mode = name.partition(":")
    with tempfile.TemporaryDirectory(prefix="aetheris-bench-") as folder:
        if kind == "dbos":
            found = dbos(mode, flight, jobs, steps, folder)
        else:
            play = aetheris if kind == "aetheris" else bare
            found = asyncio.run(play(mode, flight, jobs, steps, folder))
        sys.stdout.write(json.dumps({"name": name, "flight": flight, **found}) + "\n")
        sys.stdout.flush()
        # The peer's own threads do not end by themselves.
        os._exit(0)


if __name__ == "__main__":
    main()
