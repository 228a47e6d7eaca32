"""How long an answer of one process takes to reach a job of another: `python -m benchmarks.wake`.

A worker, a process that runs jobs on the same file without a pause, and this process, which
approves and signals. From before the answer is given to the first line of the step after it;
the commit of the answer and the claim of the parked job are in it.
"""

import asyncio
import sys
import time

from aetheris_cli.app.session import Session
from benchmarks.stage import Stage, code, output, verdict

FLOOR_MS = 50.0


async def one(session: Session, agent: str) -> float:
    """Park a job, answer it, and give the milliseconds until it went on."""
    control = session.control
    new = control.new_job(agent)
    await control.submit(new)
    await control.wait(new.id, goal="parked", timeout_s=60)
    given = time.time()
    if agent == "asks":
        await control.decide(new.id, approved=True)
    else:
        await control.signal(new.id, "go")
    found = await control.wait(new.id, timeout_s=60)
    return (output(found) - given) * 1e3


async def play(rounds: int) -> dict[str, list[float]]:
    """Measure both kinds of answers, in turns."""
    took: dict[str, list[float]] = {"asks": [], "listens": []}
    with Stage() as stage:
        async with stage.session() as session:
            stage.load()
            stage.worker()
            await stage.alive(session, 1)
            for n in range(rounds):
                for agent, found in took.items():
                    found.append(await one(session, agent))
                sys.stderr.write(f"\rwake {n + 1}/{rounds}  ")
    sys.stderr.write("\n")
    return took


def main() -> int:
    """Measure and print; with --check leave with 1 for a missed floor."""
    took = asyncio.run(play(30 if "--quick" in sys.argv else 200))
    good = verdict("approval to the resumed step, under load", took["asks"], FLOOR_MS)
    good = verdict("signal to the resumed step, under load", took["listens"], FLOOR_MS) and good
    return code(good=good)


if __name__ == "__main__":
    sys.exit(main())
