"""A project, a witness and the real command line: what the proofs are played with."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from checker import check  # type: ignore[import-not-found]

import aetheris_cli
from aetheris_cli.store.check import check as look

AGENTS = Path(__file__).with_name("crash_agents.py")
EFFECTS = ("pure", "key", "probe", "unsafe")
KILLED = -9


class World:
    """One project directory with its store; every step is a process of its own."""

    def __init__(self, folder: Path, witness_url: str, witness_log: Path) -> None:
        self.folder = folder
        self.log = witness_log
        self.processes: list[subprocess.Popen[str]] = []
        self.acks: list[dict[str, str]] = []
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("AETHERIS_")},
            "WITNESS": witness_url,
            "PYTHONDONTWRITEBYTECODE": "1",
            # The package that is tested, wherever these tests stand: a mutant is a copy of both.
            "PYTHONPATH": str(Path(aetheris_cli.__file__).parents[1]),
        }
        (folder / "crash_agents.py").write_text(AGENTS.read_text())
        names = [
            *(f"crash_{effect}" for effect in EFFECTS),
            "held",
            "two_doors",
            "deadly",
            "by_program",
            "by_stranger",
            "keyed",
            "rewritten",
            "hurried",
            "listening",
            "limited",
        ]
        agents = [
            f'  - {{id: {name}, type: python, entrypoint: "crash_agents:{name}"}}' for name in names
        ]
        (folder / "agents.yaml").write_text("agents:\n" + "\n".join(agents) + "\n")

    def command(self, *words: str) -> list[str]:
        """Give the words of a command line."""
        return [sys.executable, "-m", "aetheris_cli.cli", *words]

    def start(
        self, *words: str, failpoint: str = "", group: int | None = None
    ) -> "subprocess.Popen[str]":
        """Start a command and go on. `group` 0: it leads a process group, as in a shell."""
        process = subprocess.Popen(
            self.command(*words),
            cwd=self.folder,
            env=self.environment | {"AETHERIS_FAILPOINTS": failpoint},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            process_group=group,
        )
        self.processes.append(process)
        return process

    def close(self) -> None:
        """Let no process outlive its test."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()

    def run(self, *words: str, failpoint: str = "") -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        process = self.start(*words, failpoint=failpoint)
        stdout, stderr = process.communicate(timeout=120)
        return subprocess.CompletedProcess(words, process.returncode, stdout, stderr)

    def ok(self, *words: str) -> str:
        """Run a command that must succeed, and give what it prints."""
        done = self.run(*words)
        assert done.returncode == 0, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def json(self, *words: str) -> Any:
        """Run a command that must succeed, and read its JSON."""
        return json.loads(self.ok(*words, "--json"))

    def acked(self, what: str, job: str) -> None:
        """Take note that a command has said it was done."""
        self.acks.append({"acked": what, "job": job})

    def submit(self, agent: str, *, failpoint: str = "") -> str:
        """Submit with a key, again after a kill, and give the one job."""
        words = ("submit", agent, "order 42", "--key", "once")
        done = self.run(*words, failpoint=failpoint)
        if failpoint:
            assert done.returncode == KILLED, (failpoint, done)
            done = self.run(*words)
        assert done.returncode == 0, done.stderr
        job = done.stdout.strip()
        self.acked("submit", job)
        return job

    def work(self, *, failpoint: str = "", killed: bool = True) -> None:
        """Let a worker do what can be done; after a kill another takes over."""
        if failpoint:
            done = self.run("worker", "--until-idle", failpoint=failpoint)
            assert done.returncode == (KILLED if killed else 0), (failpoint, done)
        self.ok("worker", "--until-idle")

    def until(self, true: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """Wait for something that must come from another process.

        Nothing of it reaches this one, so it is looked for; the deadline is a bound on a test
        that fails, and no test passes by it.
        """
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, f"this did not come: {what}"
            time.sleep(0.01)

    def approve(self, job: str) -> None:
        """Approve from a process of its own."""
        self.ok("approve", job)
        self.acked("approve", job)

    def approved(self, agent: str) -> str:
        """Submit a job, let it come to its question, and answer yes."""
        job = self.submit(agent)
        self.work()
        self.approve(job)
        return job

    def finished(self, agent: str) -> str:
        """Play a job to its end."""
        job = self.approved(agent)
        self.work()
        return job

    def effects(self) -> list[dict[str, Any]]:
        """Give what the witness has seen."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def settle_truthfully(self) -> int:
        """Settle what is in doubt by what the witness knows; give how many calls that were."""
        waiting = [one for one in self.json("parked") if one["kind"] == "in_doubt"]
        for one in waiting:
            seen = any(effect["call_id"] == one["call_id"] for effect in self.effects())
            verdict = ["--happened", '{"ok": true}'] if seen else ["--did-not-happen"]
            self.ok("settle", one["call_id"], *verdict, "--reason", "asked the witness")
            self.acked("settle", one["job_id"])
        return len(waiting)

    def histories(self) -> dict[str, list[dict[str, Any]]]:
        """Export the history of every job."""
        jobs = self.json("jobs", "--limit", "1000")
        return {job["id"]: self.json("trace", job["id"]) for job in jobs}

    def broken(self) -> list[str]:
        """Ask the checker, and the store of itself."""
        found: list[str] = check(self.effects(), self.acks, self.histories())
        return found + self.odd()

    def odd(self) -> list[str]:
        """Give what `store check` finds: nothing, whatever has happened."""
        path = self.folder / ".aetheris" / "aetheris.db"
        return [f"store check: {one}" for one in look(path)] if path.exists() else []
