"""What goes wrong at the command line: a clear error, the documented exit code, no traceback."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parents[1] / "data"
USAGE: dict[str, Any] = json.loads((DATA / "bad_usage.json").read_text("utf-8"))


@pytest.mark.parametrize("name", USAGE)
def test_an_error_says_what_and_has_its_exit_code(settled: Any, name: str) -> None:
    case = USAGE[name]
    last = json.loads(settled.ok("jobs", "--json", "--limit", "1", "--status", "parked"))[0]["id"]
    words = [word.replace("@last", last) for word in case["words"]]
    done = settled.run(*words)
    assert done.returncode == case["exit"], done
    assert case["says"] in done.stderr
    if case["exit"]:
        assert done.stdout == ""
        first, *others = done.stderr.splitlines()
        assert first.startswith("error: ")
        assert all(line.lstrip().startswith(("why: ", "fix: ")) for line in others), done.stderr


@pytest.mark.parametrize("name", [name for name in USAGE if USAGE[name]["exit"]])
def test_with_json_an_error_is_one_object(settled: Any, name: str) -> None:
    case = USAGE[name]
    if "-o" in case["words"]:
        return
    last = json.loads(settled.ok("jobs", "--json", "--limit", "1", "--status", "parked"))[0]["id"]
    done = settled.run(*(word.replace("@last", last) for word in case["words"]), "--json")
    assert done.stdout == ""
    error = json.loads(done.stderr)["error"]
    assert (done.returncode, error["exit"]) == (case["exit"], case["exit"])
    assert {"code", "message", "why", "fix", "job", "retryable"} <= set(error)


def test_outcomes_are_exit_codes(shell: Any) -> None:
    assert shell.run("run", "echo", "x").returncode == 0
    assert shell.run("run", "fails", "x").returncode == 10
    assert shell.run("run", "asks", "x").returncode == 8
    (asked,) = json.loads(shell.ok("jobs", "--json", "--status", "parked"))
    assert shell.run("wait", asked["id"], "--for", "parked").returncode == 0
    assert shell.run("wait", asked["id"]).returncode == 8
    shell.ok("cancel", asked["id"], "--reason", "enough")
    assert shell.run("wait", asked["id"]).returncode == 11
    assert shell.run("cancel", asked["id"]).returncode == 0  # it is what was asked for
    assert shell.run("pause", asked["id"]).returncode == 5
    late = shell.ok("submit", "echo", "later")
    assert shell.run("wait", late, "--timeout", "50ms").returncode == 4
    assert shell.run("show", late).returncode == 0


def test_a_key_belongs_to_one_submission(shell: Any) -> None:
    first = shell.ok("submit", "echo", "a", "--key", "k")
    assert shell.ok("submit", "echo", "a", "--key", "k") == first
    again = shell.run("submit", "echo", "b", "--key", "k")
    assert again.returncode == 5
    assert first in again.stderr
    assert len(json.loads(shell.ok("jobs", "--json"))) == 1


def test_an_approval_is_decided_once(shell: Any) -> None:
    shell.run("run", "asks", "x")
    (item,) = json.loads(shell.ok("parked", "--json"))
    shell.ok("approve", item["id"], "--comment", "fine")
    second = shell.run("reject", item["id"], "--reason", "no")
    assert second.returncode == 5
    assert "already" in second.stderr


def test_ids_come_from_stdin(shell: Any) -> None:
    for _ in range(2):
        shell.run("run", "asks", "x")
    ids = shell.ok("parked", "-q")
    assert len(ids.split()) == 2
    shell.ok("approve", "-", say=ids)
    assert shell.ok("parked", "-q") == ""


def test_a_large_message_is_kept_or_refused_in_words(shell: Any) -> None:
    done = shell.run("submit", "echo", "-", say="x" * 10_000_000)
    assert done.returncode == 2
    assert "10,000,000 characters" in done.stderr
    kept = shell.ok("submit", "echo", "-", say="y" * 1_000_000)
    assert shell.run("run", "--job", kept).stdout.strip() == "Y" * 1_000_000


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "tsv", "ids"])
def test_formats_carry_no_escapes_off_a_terminal(shell: Any, form: str) -> None:
    done = shell.run("run", "hostile", "x")
    assert done.returncode == 0
    job = shell.ok("jobs", "-q")
    for words in (["jobs"], ["show", job], ["trace", job], ["graph", job], ["timeline", job]):
        done = shell.run(*words, "-o", form)
        assert done.returncode in {0, 2}, done
        for sign in "\x1b\x07\u202e\r":
            assert sign not in done.stdout + done.stderr
        if form == "json" and done.returncode == 0:
            json.loads(done.stdout)
        if form == "jsonl" and done.returncode == 0:
            assert all(json.loads(line) for line in done.stdout.splitlines())


@pytest.mark.parametrize("words", [("jobs",), ("trace", "@last"), ("jobs", "--json")])
def test_a_closed_pipe_is_no_error(settled: Any, words: tuple[str, ...]) -> None:
    process = settled.start(*words)
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert process.stderr.read() == ""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_gives_jobs_back_and_is_an_exit_code(
    shell: Any, number: int, code: int, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    job = shell.ok("submit", "holds", str(gate))
    worker = shell.start("worker")
    _until((tmp_path / "gate.reached").exists)
    worker.send_signal(number)
    (tmp_path / "gate.go").touch()
    assert worker.wait(timeout=60) == code
    workers = json.loads(shell.ok("workers", "--json", "--all"))
    assert [one["status"] for one in workers] == ["stopped"]
    assert shell.run("run", "--job", job).stdout.strip() == "gone"


def test_follow_ends_with_the_job(shell: Any, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    job = shell.ok("submit", "holds", str(gate))
    tail = shell.start("trace", job, "-f", "-o", "jsonl")
    (tmp_path / "gate.go").touch()
    shell.ok("worker", "--until-idle")
    stdout, _ = tail.communicate(timeout=60)
    lines = [json.loads(line) for line in stdout.splitlines()]
    assert lines[-1] == {"type": "end", "status": "succeeded"}
    assert [line["seq"] for line in lines[:-1]] == list(range(1, len(lines)))
    after = shell.ok("trace", job, "-o", "jsonl", "--after", str(len(lines) - 2))
    assert [json.loads(line).get("seq") for line in after.splitlines()] == [len(lines) - 1, None]


_HEAVY = {"textual", "fastapi", "httpx", "sqlite_utils", "networkx", "uvicorn", "psycopg", "yaml"}


@pytest.mark.parametrize("words", [["--help"], ["jobs", "--json"], ["version"]])
def test_start_up_imports_nothing_heavy(settled: Any, words: list[str]) -> None:
    code = (
        "import sys; sys.argv = ['aetheris', *sys.argv[1:]]\n"
        "from aetheris_cli.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('modules:', *sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run(
        [*settled.start("version").args[:1], "-c", code, *words],
        cwd=settled.folder, env=settled.environment, capture_output=True, text=True, check=True,
        timeout=60,
    )  # fmt: skip
    loaded = set(done.stdout.partition("modules:")[2].split())
    assert "typer" in loaded
    assert not loaded & _HEAVY


def _until(true: Callable[[], bool]) -> None:
    """Wait for what another process does; the deadline bounds a test that fails."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)
