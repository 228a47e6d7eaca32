"""Store files that are none, not whole, not ours, or from another version: refused in words."""

import json
import os
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from shell import Shell  # type: ignore[import-not-found]

Break = Callable[[Path], None]
JOBS = 40


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store that has been used, with nothing open and no log beside it."""
    shell = Shell(tmp_path_factory.mktemp("good"))
    for _ in range(3):
        shell.ok("run", "echo", "hello")
    shell.ok("submit", "echo", "later", "--input", json.dumps("x" * 30_000))
    copy = shell.folder / "copy.db"
    shell.ok("store", "backup", str(copy))
    yield copy
    shell.close()


@pytest.fixture
def path(good: Path, shell: Any) -> Path:
    shell.store.parent.mkdir()
    shutil.copy(good, shell.store)
    return Path(shell.store)


def sql(path: Path, *statements: str) -> None:
    conn = sqlite3.connect(path)
    for one in statements:
        assert conn.execute(one).rowcount != 0, one
    conn.commit()
    conn.close()


def text(path: Path) -> None:
    path.write_text("this is my shopping list\n" * 200)


def foreign(path: Path) -> None:
    path.unlink()
    sql(path, "CREATE TABLE customers (name TEXT)", "INSERT INTO customers VALUES ('Ada')")


def cut_in_the_header(path: Path) -> None:
    os.truncate(path, 50)


def cut_in_the_middle(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 // 4096 * 4096)


def overwritten(path: Path) -> None:
    with path.open("r+b") as file:
        for page in range(1, path.stat().st_size // 4096):
            file.seek(page * 4096)
            file.write(b"\xff" * 64)


def newer(path: Path) -> None:
    sql(path, "UPDATE meta SET value = '9.9' WHERE name = 'made_by'", "PRAGMA user_version = 999")


def of_another_text(path: Path) -> None:
    sql(path, "UPDATE meta SET value = 'x' WHERE name = 'migration.0001'")


def without_its_tables(path: Path) -> None:
    sql(path, "DROP TABLE meta")


def half_made(path: Path) -> None:
    path.unlink()
    sql(path, "PRAGMA application_id = 7", "CREATE TABLE jobs (no INTEGER)")


BROKEN: dict[Break, str] = {
    text: "not a whole SQLite file",
    foreign: "another program",
    cut_in_the_header: "not a whole SQLite file",
    cut_in_the_middle: "not a whole SQLite file",
    overwritten: "not a whole SQLite file",
    newer: "9.9",
    of_another_text: "0001",
    without_its_tables: "lacks tables",
    half_made: "another program",
}


@pytest.mark.parametrize("words", [("jobs",), ("submit", "echo", "x"), ("worker", "--until-idle")])
@pytest.mark.parametrize("broken", BROKEN, ids=lambda one: one.__name__)
def test_a_bad_file_is_refused_in_words_and_left_as_it_is(
    shell: Any, path: Path, broken: Break, words: tuple[str, ...]
) -> None:
    broken(path)
    before = path.read_bytes()
    done = shell.run(*words)
    assert done.returncode in {6, 74}, done
    assert done.stdout == ""
    assert str(path) in done.stderr
    assert BROKEN[broken] in done.stderr
    assert path.read_bytes() == before


@pytest.mark.parametrize("broken", [cut_in_the_middle, overwritten, text])
def test_a_backup_takes_the_place_of_a_damaged_store(
    shell: Any, good: Path, path: Path, broken: Break
) -> None:
    broken(path)
    done = shell.run("store", "restore", str(good), "--yes")
    assert done.returncode == 0, done
    assert {one["status"] for one in json.loads(shell.ok("jobs", "--json"))} == {
        "succeeded", "parked",
    }  # fmt: skip
    assert len([one for one in path.parent.iterdir() if ".generation-" in one.name]) >= 1


def test_a_backup_does_not_take_the_place_of_another_programs_file(
    shell: Any, good: Path, path: Path
) -> None:
    foreign(path)
    before = path.read_bytes()
    done = shell.run("store", "restore", str(good), "--yes")
    assert done.returncode == 6
    assert "another program" in done.stderr
    assert path.read_bytes() == before


def test_an_empty_file_becomes_a_store(shell: Any) -> None:
    shell.store.parent.mkdir()
    shell.store.touch()
    assert shell.run("run", "echo", "x").stdout == "X\n"


DAMAGE = [cut_in_the_middle, overwritten, without_its_tables, of_another_text, newer, foreign]


@pytest.mark.parametrize("broken", DAMAGE, ids=lambda one: one.__name__)
def test_check_finds_what_is_damaged(shell: Any, path: Path, broken: Break) -> None:
    broken(path)
    done = shell.run("store", "check")
    assert done.returncode == 6, done
    assert str(path) in done.stdout + done.stderr


def test_check_says_what_it_does_not_cover(shell: Any, path: Path) -> None:
    done = shell.run("store", "check")
    assert (done.returncode, done.stdout) == (0, "")
    assert "no problem found" in done.stderr
    assert "not covered: leases" in done.stderr
    assert path.exists()


EDITS = {
    "an edited event": "UPDATE events SET body = replace(body, 'HELLO', 'HOLLE')"
    " WHERE job_no = 2 AND body LIKE '%HELLO%'",
    "a deleted event": "DELETE FROM events WHERE job_no = 2 AND seq = 3",
    "a deleted last event": "DELETE FROM events WHERE job_no = 2 AND seq ="
    " (SELECT max(seq) FROM events WHERE job_no = 2)",
    "an event put in": "INSERT INTO events (job_no, seq, body, hash)"
    " SELECT job_no, seq + 1, body, hash FROM events WHERE job_no = 2 ORDER BY seq DESC LIMIT 1",
    "an edited head": "UPDATE jobs SET head = zeroblob(32) WHERE no = 2",
    "a deleted payload": "DELETE FROM payloads",
    "an edited payload": "UPDATE payloads SET body = 'other' WHERE digest ="
    " (SELECT digest FROM payloads LIMIT 1)",
}


@pytest.mark.parametrize("edit", EDITS)
def test_check_finds_what_was_edited(shell: Any, path: Path, edit: str) -> None:
    shell.ok("store", "check")
    payload = "payload" in edit
    if payload:
        shell.ok("submit", "echo", "large", "--input", json.dumps("y" * 40_000))
    sql(path, EDITS[edit])
    done = shell.run("store", "check", "--json")
    assert done.returncode == 6, done
    if not payload:
        second = json.loads(shell.ok("jobs", "--json"))[-2]["id"]
        assert second in done.stdout + done.stderr
    else:
        assert "payload" in done.stdout + done.stderr


def test_a_path_through_a_file_is_named(shell: Any) -> None:
    done = shell.run("--store", f"sqlite:///{shell.folder}/mine.py/jobs.db", "submit", "echo", "x")
    assert done.returncode in {2, 6, 74}
    assert "mine.py" in done.stderr


def test_a_store_that_is_full_says_so_and_loses_nothing(shell: Any) -> None:
    kept = shell.ok("submit", "echo", "kept")
    # A limit on the size of files is the nearest to a full disk that needs no mount.
    limit = shell.store.stat().st_size

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    process = shell.start("submit", "echo", "-", preexec_fn=small, stdin=subprocess.PIPE)
    stdout, stderr = process.communicate("x" * 1_000_000, timeout=60)
    assert process.returncode in {6, 74}, (stdout, stderr)
    assert "Traceback" not in stderr
    shell.ok("store", "check")
    assert shell.run("run", "--job", kept).stdout == "KEPT\n"
    assert len(json.loads(shell.ok("jobs", "--json"))) == 1
