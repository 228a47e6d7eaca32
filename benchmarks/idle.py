"""What a worker costs that has nothing to do: `python -m benchmarks.idle [--check]`.

Two workers on one store, with parked jobs in it, so that they watch each other. The time that
the kernel has counted for one of them, over twenty seconds, against the clock.
"""

import asyncio
import os
import sys
import time
from pathlib import Path

from benchmarks.stage import Stage, code

FLOOR = 1.0
SECONDS = 20.0
JOBS = 200


def used_s(pid: int) -> float:
    """Give the processor time of a process so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def play() -> float:
    """Give the share of one core, per cent."""
    with Stage() as stage:
        async with stage.session() as session:
            worker = stage.worker()
            stage.worker()
            await stage.alive(session, 2)
            for _ in range(JOBS):
                await session.control.submit(session.control.new_job("asks", "x"))
            async with asyncio.timeout(60):
                while (await session.store.counts()).get("parked", 0) < JOBS:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        began, before = time.perf_counter(), used_s(worker.pid)
        time.sleep(SECONDS)  # noqa: ASYNC251 - nothing else runs here
        return (used_s(worker.pid) - before) / (time.perf_counter() - began) * 100


def main() -> int:
    """Measure and judge."""
    share = asyncio.run(play())
    good = share <= FLOOR
    sys.stdout.write(
        f"{'ok  ' if good else 'MISS'} idle worker: {share:.2f} % of a core over {SECONDS:g} s, "
        f"{JOBS} jobs parked (floor {FLOOR:g} %)\n"
    )
    return code(good=good)


if __name__ == "__main__":
    sys.exit(main())
