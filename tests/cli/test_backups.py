"""Backups: whole, private and left as they are; and what is none is refused in words."""

import json
import os
import resource
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def backup(shell: Any) -> Path:
    shell.ok("run", "echo", "hello")
    shell.ok("store", "backup", "backup.db")
    return Path(shell.folder / "backup.db")


def refused(shell: Any, *words: str, code: int) -> str:
    before = shell.ok("jobs", "--json")
    done = shell.run(*words)
    assert done.returncode == code, done
    assert shell.ok("jobs", "--json") == before
    assert not list(shell.store.parent.glob("*.generation-*"))
    assert not list(shell.store.parent.glob("*.restoring-*"))
    return str(done.stderr)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def without_tables(path: Path) -> None:
    path.unlink()
    sqlite3.connect(path).execute("PRAGMA user_version = 0").connection.close()


def of_another_program(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as conn:
        conn.execute("CREATE TABLE jobs (no INTEGER)")
    conn.close()


def without_a_version(path: Path) -> None:
    with sqlite3.connect(path) as conn:
        conn.execute("PRAGMA user_version = 0")
    conn.close()


def damaged(path: Path) -> None:
    # In the middle of a table: the header and the schema can still be read.
    with path.open("r+b") as file:
        for page in range(5, path.stat().st_size // 4096):
            file.seek(page * 4096)
            file.write(b"\xff" * 64)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (empty, "is empty"),
        (without_tables, "is empty"),
        (without_a_version, "its schema is 0"),
        (of_another_program, "another program"),
        (damaged, "damaged|not a whole"),
    ],
)
def test_what_is_no_whole_store_replaces_nothing(
    shell: Any, backup: Path, spoil: Callable[[Path], None], said: str
) -> None:
    spoil(backup)
    stderr = refused(shell, "store", "restore", "backup.db", "--yes", code=6)
    assert any(text in stderr for text in said.split("|"))
    assert "another backup" in stderr


def test_a_missing_backup_is_said_before_a_person_is_asked(shell: Any, backup: Path) -> None:
    assert "there is no backup" in refused(shell, "store", "restore", "missing.db", code=3)
    assert "is not a file" in refused(shell, "store", "restore", ".", code=6)
    assert "--yes" in refused(shell, "store", "restore", backup.name, code=2)


@pytest.mark.parametrize("verb", ["backup", "restore"])
def test_a_name_must_be_given(shell: Any, backup: Path, verb: str) -> None:
    assert backup.exists()
    assert "no file was named" in refused(shell, "store", verb, "", code=2)


def test_a_restore_leaves_its_source_as_it_was(shell: Any, backup: Path) -> None:
    folder = backup.parent / "kept"
    folder.mkdir()
    backup = backup.rename(folder / "backup.db")
    backup.chmod(0o444)
    folder.chmod(0o555)
    before, at = backup.read_bytes(), backup.stat()
    done = json.loads(shell.ok("store", "restore", str(backup), "--yes", "--json"))
    folder.chmod(0o755)
    assert done["generation"] == 2
    assert (backup.read_bytes(), backup.stat().st_mtime_ns) == (before, at.st_mtime_ns)
    assert os.listdir(folder) == ["backup.db"]  # noqa: PTH208


def test_a_store_that_was_copied_with_its_log_is_read_whole(shell: Any, backup: Path) -> None:
    backup.unlink()
    with sqlite3.connect(shell.store, isolation_level=None) as conn:
        conn.execute("SELECT count(*) FROM jobs").fetchone()  # keeps the log where it is
        job = shell.ok("submit", "echo", "in the log")
        for end in ("", "-wal"):
            (shell.folder / f"backup.db{end}").write_bytes(Path(f"{shell.store}{end}").read_bytes())
    conn.close()
    shell.ok("store", "restore", "backup.db", "--yes")
    assert job in shell.ok("jobs", "-q").split()


def test_a_backup_is_private_and_overwrites_nothing(shell: Any, backup: Path) -> None:
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    before = backup.read_bytes()
    assert "overwrites nothing" in refused(shell, "store", "backup", "backup.db", code=5)
    (shell.folder / "link.db").symlink_to("nowhere.db")
    assert "overwrites nothing" in refused(shell, "store", "backup", "link.db", code=5)
    assert "is a folder" in refused(shell, "store", "backup", ".", code=2)
    assert "no folder" in refused(shell, "store", "backup", "missing/b.db", code=3)
    assert backup.read_bytes() == before


def test_a_backup_that_does_not_fit_leaves_nothing(shell: Any, backup: Path) -> None:
    before = sorted(os.listdir(shell.folder))  # noqa: PTH208
    limit = backup.stat().st_size // 2

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    process = shell.start("store", "backup", "second.db", preexec_fn=small)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 6, stderr
    assert "second.db could not be written" in stderr
    assert sorted(os.listdir(shell.folder)) == before  # noqa: PTH208
