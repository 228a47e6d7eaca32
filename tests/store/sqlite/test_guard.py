"""No raw descriptor of a live store: whatever the name it is opened by."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aetheris_cli.domain.errors import UsageError
from aetheris_cli.store.connection import connect
from aetheris_cli.store.migrate import migrate
from aetheris_cli.store.turnstile import Turnstile

Open = Callable[[Path], Any]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "jobs.db"
    turnstile = Turnstile(tmp_path)
    migrate(made, tmp_path, turnstile, create=True, made_by="a test")
    turnstile.close()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    return made


@pytest.fixture
def conn(path: Path) -> Iterator[Any]:
    made = connect(path)
    made.execute("SELECT count(*) FROM jobs").fetchone()
    yield made
    made.close()


def with_folder(path: Path) -> int:
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        return os.open(path.name, os.O_RDONLY, dir_fd=folder)
    finally:
        os.close(folder)


def by_symlink(path: Path) -> Any:
    alias = path.with_name("alias")
    alias.symlink_to(path)
    return alias.open()


def by_hard_link(path: Path) -> Any:
    other = path.with_name("other")
    other.hardlink_to(path)
    return os.open(other, os.O_RDONLY)


def relative(path: Path) -> Any:
    return open(f"../{path.name}")  # noqa: PTH123 - it is refused


WAYS: list[Open] = [
    lambda path: path.open(),
    lambda path: os.open(path, os.O_RDONLY),
    lambda path: os.open(os.fsencode(path), os.O_RDONLY),
    with_folder, by_symlink, by_hard_link, relative,
]  # fmt: skip


@pytest.mark.parametrize("part", ["", "-wal", "-shm"])
@pytest.mark.parametrize("way", WAYS)
def test_a_live_store_is_opened_by_sqlite_alone(
    path: Path, conn: Any, way: Open, part: str
) -> None:
    assert conn.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with pytest.raises(UsageError, match="refused to open"):
        way(path.with_name(path.name + part))


def test_a_name_that_another_file_has_is_free(path: Path, conn: Any) -> None:
    assert conn.in_transaction is False
    same = Path.cwd() / path.name
    same.write_text("another file")
    assert same.read_text() == "another file"
    assert Path(path.name).read_text() == "another file"


def test_a_closed_store_is_a_file_like_any_other(path: Path, conn: Any) -> None:
    second = connect(path)
    conn.close()
    with pytest.raises(UsageError):
        path.read_bytes()
    second.close()
    assert path.read_bytes().startswith(b"SQLite format 3")
