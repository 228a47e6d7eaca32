"""Whatever stdout and stderr are: data alone on stdout, the right exit code, no traceback."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def in_a_shell(shell: Any, line: str) -> "subprocess.CompletedProcess[str]":
    """Run a line of sh in which $A stands for the command."""
    words = shell.start("version").args
    return subprocess.run(
        ["/bin/sh", "-c", line.replace("$A", " ".join(map(str, words[:-1])))],
        cwd=shell.folder, env=shell.environment, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("run", "fails", "x", "--json"), 10),
        (("run", "asks", "x", "--json"), 8),
        (("run", "echo", "x"), 0),
        (("show", "nope"), 3),
    ],
)
@pytest.mark.parametrize("where", [">&-", "2>&-", "<&-"])
def test_a_closed_stream_changes_no_exit_code(
    shell: Any, words: tuple[str, ...], code: int, where: str
) -> None:
    done = in_a_shell(shell, f"$A {' '.join(words)} {where}")
    assert done.returncode == code, done
    assert "Traceback" not in done.stderr


def test_a_closed_stdout_is_never_the_store_file(shell: Any) -> None:
    shell.ok("run", "echo", "x")
    for _ in range(3):
        in_a_shell(shell, "$A run loud hello >&-")
    assert shell.ok("store", "check", "--json") == "[]"


def test_a_reader_that_goes_away_leaves_the_commands_own_exit_code(shell: Any) -> None:
    process = shell.start("run", "fails", "x", "--json")
    process.stdout.close()
    assert process.wait(timeout=60) == 10
    assert process.stderr.read() == ""


def test_a_full_device_is_said(shell: Any) -> None:
    shell.ok("submit", "echo", "x")
    done = in_a_shell(shell, "$A jobs >/dev/full")
    assert done.returncode == 1
    assert done.stderr.startswith("error: the output cannot be written")


def test_what_agents_and_their_programs_print_is_not_data(shell: Any) -> None:
    done = shell.run("run", "loud", "hello", "--json")
    assert json.loads(done.stdout)["output"] == "hello"
    assert "from the agent" in done.stderr
    assert "from a program" in done.stderr
    shell.ok("run", "loud", "hello")
    verdict = shell.run("replay", shell.ok("jobs", "-q", "--limit", "1"), "--json")
    assert json.loads(verdict.stdout)["denied"] == ["os.system"]


def test_text_that_the_terminal_cannot_show_is_escaped(shell: Any) -> None:
    shell.ok("submit", "echo", "grüße 漢字")
    shell.environment |= {"PYTHONIOENCODING": "ascii"}
    assert "gr\\xfc\\xdfe" in shell.ok("jobs")


@pytest.mark.parametrize(
    "words", [("submit", b"\xff", "x"), ("submit", "echo", b"\xff"), ("jobs", "--agent", b"\xff")]
)
def test_an_argument_that_is_no_text_is_refused(shell: Any, words: tuple[Any, ...]) -> None:
    done = shell.run(*words)
    assert done.returncode == 2
    assert "no UTF-8 text" in done.stderr


def test_a_folder_that_is_gone_is_said(shell: Any) -> None:
    done = in_a_shell(shell, "mkdir gone && cd gone && rmdir ../gone && $A jobs")
    assert done.returncode == 2
    assert "does not exist any more" in done.stderr


def test_the_trace_of_run_is_whole(shell: Any) -> None:
    for _ in range(5):
        assert "job.succeeded" in shell.run("run", "echo", "x").stderr
    job = shell.ok("submit", "asks", "x")
    assert "job.parked" in shell.run("run", "--job", job).stderr
    shell.ok("approve", job)
    told = shell.run("run", "--job", job).stderr
    assert "job.succeeded" in told
    assert "job.submitted" not in told  # that was told before


def test_run_of_a_job_whose_agent_is_not_here_says_so(shell: Any) -> None:
    job = shell.ok("submit", "echo", "x")
    (shell.folder / "agents.yaml").write_text(
        'agents: [{id: other, type: python, entrypoint: "mine:asks"}]'
    )
    assert shell.run("run", "--job", job).returncode == 3
    assert shell.run("worker", "--until-idle").returncode == 0
    assert json.loads(shell.ok("show", job, "--json"))["status"] == "queued"


def test_a_job_for_later_keeps_no_worker_that_stops_when_idle(shell: Any) -> None:
    shell.ok("submit", "echo", "x", "--delay", "1h")
    assert shell.run("worker", "--until-idle").returncode == 0


def test_an_approval_whose_time_is_over_waits_for_nobody(shell: Any) -> None:
    shell.run("run", "expires", "x")
    _until(lambda: shell.ok("parked", "-q") == "")
    done = shell.run("run", "--job", shell.ok("jobs", "-q"))
    assert (done.returncode, done.stdout.strip()) == (0, "false")


@pytest.mark.parametrize(
    ("name", "words"), [("leave", "without a verdict"), ("spin", "did not end")]
)
def test_a_replay_without_a_verdict_is_no_match(shell: Any, name: str, words: str) -> None:
    shell.ok("run", {"leave": "leaves", "spin": "spins"}[name], "x")
    job = shell.ok("jobs", "-q")
    (shell.folder / name).touch()
    done = shell.run("replay", job, "--json", "--timeout", "3s")
    assert (done.returncode, done.stdout) == (1, "")
    assert words in json.loads(done.stderr)["error"]["message"]


def test_a_second_signal_ends_a_process_whose_loop_is_blocked(shell: Any, tmp_path: Path) -> None:
    run = shell.start("run", "blocks", str(tmp_path / "gate"))
    _until((tmp_path / "gate.reached").exists)
    run.send_signal(signal.SIGINT)
    line = ""
    while "once more" not in line:
        line = run.stderr.readline()
        assert line, "it said nothing"
    run.send_signal(signal.SIGINT)
    assert run.wait(timeout=60) == 130


def test_a_job_that_ends_while_its_run_is_stopped_is_told(shell: Any, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = shell.start("run", "holds", str(gate))
    _until((tmp_path / "gate.reached").exists)
    run.send_signal(signal.SIGTERM)
    line = ""
    while "once more" not in line:
        line = run.stderr.readline()
        assert line, "it said nothing"
    (tmp_path / "gate.go").touch()
    stdout, stderr = run.communicate(timeout=60)
    assert run.returncode == 143
    assert stdout == "gone\n"
    assert "the job is durable" not in stderr
    (job,) = json.loads(shell.ok("jobs", "--json"))
    assert job["status"] == "succeeded"


def test_a_copy_that_an_async_tool_forks_runs_no_job(shell: Any) -> None:
    assert shell.run("run", "forks", "x").stdout.strip() == "1"
    assert (shell.folder / "ran").read_text() == "agent "
    assert shell.ok("store", "check", "--json") == "[]"


def _until(true: Callable[[], bool]) -> None:
    """Wait for what another process does; the deadline bounds a test that fails."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        os.sched_yield()
