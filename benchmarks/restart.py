"""From the start of a new process after SIGKILL to the first resumed step, beside DBOS.

`python -m benchmarks.restart [--check]`. One worker runs a job and is killed inside a step; the
time runs from the start of the next process, its interpreter and imports among it.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from benchmarks.stage import ROOT, Stage, code, kill, output, percentile, verdict

FLOOR_MS = 500.0


async def ours(rounds: int) -> list[float]:
    """Kill and restart our worker; give milliseconds."""
    took = []
    with Stage() as stage:
        async with stage.session() as session:
            stage.worker()
            for n in range(rounds):
                mark = stage.folder / f"mark{n}"
                new = session.control.new_job("held", str(mark))
                await session.control.submit(new)
                kill(int(await stage.appears(mark)))
                started = time.time()
                stage.worker()
                job = await session.control.wait(new.id, timeout_s=60)
                took.append((output(job) - started) * 1e3)
                sys.stderr.write(f"\raetheris {n + 1}/{rounds}  ")
    sys.stderr.write("\n")
    return took


def theirs(rounds: int) -> list[float]:
    """Do the same with DBOS."""
    took = []
    for n in range(rounds):
        with tempfile.TemporaryDirectory(prefix="aetheris-bench-") as name:
            folder = Path(name)
            words = [sys.executable, "-m", "benchmarks.restart", "dbos", name]
            first = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL)
            while not (folder / "mark").exists():
                time.sleep(0.01)
            first.kill()
            first.wait()
            started = time.time()
            second = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL)
            while not (folder / "resumed").exists():
                time.sleep(0.002)
            took.append((float((folder / "resumed").read_text()) - started) * 1e3)
            second.kill()
            second.wait()
            sys.stderr.write(f"\rdbos {n + 1}/{rounds}  ")
    sys.stderr.write("\n")
    return took


def dbos(folder: Path) -> None:
    """Play one life of a DBOS process: begin the workflow, or recover it."""
    from dbos import DBOS  # type: ignore[import-not-found]

    DBOS(
        config={
            "name": "bench",
            "system_database_url": f"sqlite:///{folder / 'dbos.sqlite'}",
            "log_level": "ERROR",
            "run_admin_server": False,
            "application_version": "1",
            "executor_id": "bench",
        }
    )

    @DBOS.step()  # type: ignore[misc]
    def held_step() -> float:
        if (folder / "mark").exists():
            (folder / "draft").write_text(str(time.time()))
            (folder / "draft").rename(folder / "resumed")
            return 1.0
        (folder / "mark").touch()
        time.sleep(3_600)  # until the kill
        return 0.0

    @DBOS.workflow()  # type: ignore[misc]
    def held_flow() -> float:
        return float(held_step())

    again = (folder / "mark").exists()
    DBOS.launch()
    if not again:
        DBOS.start_workflow(held_flow)
    time.sleep(3_600)  # until the kill


def main() -> int:
    """Measure and print; with --check leave with 1 for a missed floor."""
    if sys.argv[1:2] == ["dbos"]:
        dbos(Path(sys.argv[2]))
        return 0
    quick = "--quick" in sys.argv
    good = verdict(
        "restart to the first resumed step", asyncio.run(ours(8 if quick else 30)), FLOOR_MS
    )
    if find_spec("dbos") is None:
        sys.stdout.write("     DBOS is not installed: no comparison\n")
    else:
        took = theirs(2 if quick else 5)
        sys.stdout.write(f"     DBOS, the same: median {percentile(took, 0.5):.0f} ms\n")
    return code(good=good)


if __name__ == "__main__":
    sys.exit(main())
