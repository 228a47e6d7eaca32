"""The demo: a refund whose worker is killed with SIGKILL, twice, at two different moments.

Every program in it is real: a witness that stands for the payment provider, two workers, and
the command line. Nothing printed is prepared; the demo leaves with 1 when a count is not one.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from aetheris_cli.testing.witness import Witness

_PATIENCE_S: Final = 60.0
_AGENTS: Final = """\
agents:
  - {id: refund, type: python, entrypoint: "aetheris_cli.testing.refund:refund"}
"""


def _say(text: str = "") -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


_started: Final[list["subprocess.Popen[str]"]] = []


class _Stage:
    """One act: a folder with a project, and the commands that are run in it."""

    def __init__(self, folder: Path, witness: Witness) -> None:
        folder.mkdir()
        self.folder = folder
        self._witness = witness
        (folder / "agents.yaml").write_text(_AGENTS, "utf-8")
        clean = {name: text for name, text in os.environ.items() if "AETHERIS_" not in name}
        self._environment = clean | {"AETHERIS_DEMO_WITNESS": witness.url}

    def start(self, *words: str, failpoint: str = "") -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "aetheris_cli.cli", *words],
            cwd=self.folder,
            env=self._environment | {"AETHERIS_FAILPOINTS": failpoint},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        _started.append(process)
        return process

    def ask(self, *words: str) -> Any:  # noqa: ANN401 - any JSON
        process = self.start(*words, "--json")
        answer, _ = process.communicate(timeout=_PATIENCE_S)
        if process.returncode not in {0, 8}:
            raise RuntimeError(f"aetheris {' '.join(words)} left with {process.returncode}")
        return json.loads(answer)

    def charges(self, job: str) -> int:
        return sum(one["call_id"].startswith(job) for one in self._witness.effects())

    def killed(self, order: str, place: str) -> tuple[str, float]:
        """Submit, let a worker come to `place`, kill it beside a second one.

        Gives the job and the milliseconds from the kill to the second worker's claim.
        """
        job = self.ask("submit", "refund", order)["id"]
        gate = self.folder / "gate"
        first = self.start("worker", failpoint=f"{place}@{gate}")
        _until((self.folder / "gate.reached").exists)
        second = self.start("worker")
        both = 2
        _until(lambda: sum(one["alive"] for one in self.ask("workers")) == both)
        killed_at = time.time() * 1_000
        first.send_signal(signal.SIGKILL)
        first.communicate()
        self.ask("wait", job)
        second.send_signal(signal.SIGTERM)
        second.communicate(timeout=_PATIENCE_S)
        claims = [one for one in self.ask("trace", job) if one["type"] == "job.claimed"]
        taken = datetime.fromisoformat(claims[1]["at"]).timestamp() * 1_000
        return job, taken - killed_at


def _until(true: Callable[[], bool]) -> None:
    """Wait for what another process does; there is no event of it here, so it is looked for."""
    end = time.monotonic() + _PATIENCE_S
    while not true():
        if time.monotonic() > end:
            raise RuntimeError("the demo waited in vain")
        time.sleep(0.02)


def _after_the_result(stage: _Stage) -> bool:
    _say("1. A worker refunds order 41 and is killed with SIGKILL after the charge was recorded.")
    job, took = stage.killed("41", "result.after_commit:2")
    found = stage.ask("show", job)
    _say(f"   A second worker took the job over {took:.0f} ms after the kill.")
    _say(f"   The job has {found['status']}: {found['output']}")
    count = stage.charges(job)
    _say(f"   The witness saw {count} charge{'s' * (count != 1)}.")
    return found["status"] == "succeeded" and count == 1


def _inside_the_call(stage: _Stage) -> bool:
    _say()
    _say("2. A worker is killed inside the call: the charge is out, its answer is lost.")
    job, took = stage.killed("42", "call.after_send:2")
    found = stage.ask("show", job)
    _say(f"   A second worker took the job over {took:.0f} ms after the kill.")
    _say(f"   It did not charge again. The job is {found['status']}: nobody knows what happened.")
    waiting = stage.ask("parked")
    _say(f"   aetheris parked  ->  {waiting[0]['kind']}  {waiting[0]['call_id']}")
    count = stage.charges(job)
    _say(f"   A person asks the payment provider. The witness saw {count} charge.")
    _say("   aetheris settle CALL --happened '{\"ok\": true}' --reason 'asked the provider'")
    stage.ask(
        "settle", waiting[0]["call_id"], "--happened", '{"ok": true}',
        "--reason", "asked the provider",
    )  # fmt: skip
    stage.ask("run", "--job", job)
    ended = stage.ask("show", job)
    count = stage.charges(job)
    _say(f"   The job has {ended['status']}: {ended['output']}")
    _say(f"   The witness saw {count} charge{'s' * (count != 1)}.")
    return found["status"] == "parked" and ended["status"] == "succeeded" and count == 1


def main() -> int:
    """Play both acts; 0 when each ended with one charge."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        return _play()
    except KeyboardInterrupt:
        return 130
    finally:
        for process in _started:
            if process.poll() is None:
                process.kill()


def _play() -> int:
    with (
        tempfile.TemporaryDirectory(prefix="aetheris-demo-") as name,
        Witness(Path(name) / "witness.jsonl") as witness,
    ):
        good = _after_the_result(_Stage(Path(name) / "first", witness))
        good = _inside_the_call(_Stage(Path(name) / "second", witness)) and good
    _say()
    _say("One charge each." if good else "This is not what was promised: please report it.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
