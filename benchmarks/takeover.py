"""How long after SIGKILL of a worker its job goes on in another: `python -m benchmarks.takeover`.

Two workers on one file, and a third process that runs jobs there without a pause. From the kill
to the first line of the resumed step, in the other worker.
"""

import asyncio
import sys
import time

from benchmarks.stage import Stage, code, kill, output, verdict

FLOOR_MS = 300.0


async def play(rounds: int) -> list[float]:
    """Kill the worker that holds a job, again and again; give milliseconds."""
    took = []
    with Stage() as stage:
        async with stage.session() as session:
            stage.load()
            stage.worker()
            stage.worker()
            for n in range(rounds):
                await stage.alive(session, 2)
                mark = stage.folder / f"mark{n}"
                new = session.control.new_job("held", str(mark))
                await session.control.submit(new)
                pid = int(await stage.appears(mark))
                killed = time.time()
                kill(pid)
                job = await session.control.wait(new.id, timeout_s=60)
                took.append((output(job) - killed) * 1e3)
                stage.worker()
                sys.stderr.write(f"\rtakeover {n + 1}/{rounds}  ")
    sys.stderr.write("\n")
    return took


def main() -> int:
    """Measure and print; with --check leave with 1 for a missed floor."""
    took = asyncio.run(play(10 if "--quick" in sys.argv else 40))
    return code(good=verdict("takeover after SIGKILL, under load", took, FLOOR_MS))


if __name__ == "__main__":
    sys.exit(main())
