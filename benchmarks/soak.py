"""Two workers, a shell loop that submits and one that reads, on one file, for some minutes.

`python -m benchmarks.soak [--minutes 10]`. Every command is a process of its own. It leaves
with 1 when a job was lost or doubled, an effect happened twice, or any command failed or spoke
of a locked database.
"""

import asyncio
import json
import sys
import threading
import time
from collections import Counter
from typing import Any

from benchmarks.stage import Stage


class Loop(threading.Thread):
    """Runs one command after the other, and keeps what went wrong."""

    def __init__(self, stage: Stage, until: float, *words: str) -> None:
        super().__init__()
        self._stage = stage
        self._until = until
        self._words = words
        self.answers: list[str] = []
        self.count = 0
        self.problems: list[str] = []

    def run(self) -> None:
        """Go on until the time is over."""
        while time.monotonic() < self._until:
            done = self._stage.command(
                *[one.replace("{n}", str(self.count)) for one in self._words]
            )
            self.count += 1
            if done.returncode or "locked" in done.stderr or "Traceback" in done.stderr:
                self.problems.append(f"{done.args[2:]} left with {done.returncode}: {done.stderr}")
            elif self._words[0] == "submit":
                self.answers.append(done.stdout.strip())


async def statuses(stage: Stage) -> Counter[str]:
    """Count the jobs of each status."""
    async with stage.session() as session:
        return Counter(await session.store.counts())


def main() -> int:
    """Play, judge and print."""
    minutes = float(sys.argv[sys.argv.index("--minutes") + 1]) if "--minutes" in sys.argv else 10.0
    with Stage() as stage:
        stage.command("store", "init")  # else the first list may come before there is a store
        workers = [stage.worker(), stage.worker()]
        until = time.monotonic() + minutes * 60
        log = stage.folder / "effects"
        submits = Loop(stage, until, "submit", "notes", str(log), "--key", "order-{n}")
        reads = Loop(stage, until, "jobs", "--json", "--limit", "20")
        for loop in (submits, reads):
            loop.start()
        while submits.is_alive() or reads.is_alive():
            sys.stderr.write(f"\r{submits.count} submitted, {reads.count} read  ")
            time.sleep(1)
        submits.join()
        reads.join()
        stage.command("wait", *submits.answers[-50:], "--timeout", "60s")
        counts = asyncio.run(statuses(stage))
        alive = [worker.poll() is None for worker in workers]
        effects = Counter(json.loads(line)["call"] for line in log.read_text().splitlines())
    sys.stderr.write("\n")
    return judge(submits, reads, counts, effects, alive)


def judge(
    submits: Loop, reads: Loop, counts: Counter[str], effects: Counter[str], alive: list[bool]
) -> int:
    """Print what was found, and give the exit code."""
    jobs = len(set(submits.answers))
    problems = submits.problems + reads.problems
    found: list[tuple[str, Any, Any]] = [
        ("commands that failed", len(problems), 0),
        ("jobs in the store", sum(counts.values()), jobs),
        ("jobs that succeeded", counts["succeeded"], jobs),
        ("calls with an effect", len(effects), jobs),
        ("effects that happened twice", sum(n > 1 for n in effects.values()), 0),
        ("workers alive", sum(alive), 2),
    ]
    sys.stdout.write(f"{jobs} jobs submitted, {reads.count} lists read\n")
    for what, value, wanted in found:
        good = "ok  " if value == wanted else "MISS"
        sys.stdout.write(f"{good} {what}: {value} (must be {wanted})\n")
    for problem in problems[:5]:
        sys.stdout.write(problem + "\n")
    return 0 if all(value == wanted for _, value, wanted in found) else 1


if __name__ == "__main__":
    sys.exit(main())
