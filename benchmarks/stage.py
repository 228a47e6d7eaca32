"""A project folder with real workers, and a load on the same store from another process."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from aetheris_cli.app.registry import CodeRegistry
from aetheris_cli.app.session import Session, opened

AGENTS = """\
agents:
  - {id: held, type: python, entrypoint: "benchmarks.agents:held"}
  - {id: asks, type: python, entrypoint: "benchmarks.agents:asks"}
  - {id: listens, type: python, entrypoint: "benchmarks.agents:listens"}
  - {id: notes, type: python, entrypoint: "benchmarks.agents:notes"}
"""
ROOT = Path(__file__).parents[1]
PATIENCE_S = 60.0


class Stage:
    """A folder with agents.yaml and a store; every process it starts ends with it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="aetheris-bench-")
        self.folder = Path(self._folder.name)
        self.url = f"sqlite:///{self.folder / 'store.db'}"
        self._processes: list[subprocess.Popen[str]] = []
        self._environment = os.environ | {"PYTHONPATH": str(ROOT), "AETHERIS_STORE": self.url}
        (self.folder / "agents.yaml").write_text(AGENTS, "utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()
        self._folder.cleanup()

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start `python -m WORDS` in the folder."""
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._processes.append(process)
        return process

    def command(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run one command of the command line to its end."""
        return subprocess.run(
            [sys.executable, "-m", "aetheris_cli.cli", *words],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def worker(self) -> "subprocess.Popen[str]":
        """Start a worker."""
        return self.start("aetheris_cli.cli", "worker")

    def load(self) -> "subprocess.Popen[str]":
        """Start a process that runs jobs on the same store, four at a time, without a pause."""
        return self.start("benchmarks.agents", self.url)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """Open the store in this process, to submit and to look."""
        async with opened(self.url, CodeRegistry([]), create=True) as session:
            yield session

    async def alive(self, session: Session, count: int) -> None:
        """Wait until that many workers of the folder's agents are alive."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                rows = await session.store.workers()
                if sum("held" in row.agents and not session.is_gone(row) for row in rows) == count:
                    return
                await asyncio.sleep(0.01)

    async def appears(self, path: Path) -> str:
        """Wait for a file that another process writes in one step, and give its text."""
        async with asyncio.timeout(PATIENCE_S):
            while not path.exists():  # noqa: ASYNC110, ASYNC240 - another process makes it
                await asyncio.sleep(0.002)
        return path.read_text()  # noqa: ASYNC240


def kill(pid: int) -> None:
    """Kill a process as a crash would."""
    os.kill(pid, signal.SIGKILL)


def percentile(values: list[float], share: float) -> float:
    """Give the value that `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def verdict(what: str, values: list[float], floor: float) -> bool:
    """Print median, p99 and the floor for p99, all milliseconds; say whether it holds."""
    p99 = percentile(values, 0.99)
    sys.stdout.write(
        f"{'ok  ' if p99 <= floor else 'MISS'} {what}: median {percentile(values, 0.5):.0f} ms, "
        f"p99 {p99:.0f} ms of {len(values)} (floor {floor:g} ms)\n"
    )
    return p99 <= floor


def code(*, good: bool) -> int:
    """Give the exit code: 1 for a missed floor when asked to check."""
    return 0 if good or "--check" not in sys.argv else 1


def output(job: Any) -> float:
    """Give the time that a job's last step has returned."""
    if job["status"] != "succeeded":
        raise SystemExit(f"job {job['id']} is {job['status']}: {job['error']}")
    return float(job["output"])
