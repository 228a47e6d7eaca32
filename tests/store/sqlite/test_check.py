"""`store check` sees every edit of the file that the histories deny, and nothing else."""

# ruff: noqa: S608 - the statements of a test are its own

import asyncio
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from edits import OF_A_JOB, OF_THE_FILE  # type: ignore[import-not-found]
from rich_store import Cast, build  # type: ignore[import-not-found]

from aetheris_cli.domain import wishes
from aetheris_cli.domain.records import JOB_COLUMNS, Question
from aetheris_cli.domain.states import WorkerState
from aetheris_cli.store.check import MOST, check
from aetheris_cli.store.connection import connect
from aetheris_cli.store.findings import Finding
from aetheris_cli.store.restore import restore
from aetheris_cli.store.sqlite_lib import sqlite3
from aetheris_cli.store.sqlstore import SqlStore


class Scene(NamedTuple):
    path: Path
    cast: Cast

    def copy(self, target: Path) -> Path:
        conn = connect(self.path)
        conn.execute("VACUUM INTO ?", (str(target),))
        conn.close()
        return target


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    path = tmp_path_factory.mktemp("rich") / "jobs.db"
    return Scene(path, build(path))


@pytest.fixture
def path(scene: Scene, tmp_path: Path) -> Path:
    return scene.copy(tmp_path / "jobs.db")


def edit(path: Path, *statements: str, cast: Cast | None = None) -> None:
    """Do to a store what no code of ours does. `:x` in a statement: the number of job x."""
    conn = sqlite3.connect(path, isolation_level=None)
    conn.execute("PRAGMA ignore_check_constraints = 1")
    for text in statements:
        full = text
        for part in sorted(cast or {}, key=len, reverse=True):
            number = f"(SELECT no FROM jobs WHERE id = '{cast and cast[part]}')"
            full = full.replace(f":{part}", number)
        assert conn.execute(full).rowcount != 0, full
    conn.close()


def told(found: list[Finding], job: str, words: str) -> None:
    assert any(job in one.id and words in one.problem for one in found), found


# --- what nobody has edited ------------------------------------------------------------------


def test_nothing_is_found_where_nobody_has_edited(scene: Scene, path: Path) -> None:
    assert check(scene.path) == []
    assert check(path) == []


def test_it_writes_nothing(path: Path) -> None:
    before = path.stat()
    check(path)
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_nothing_is_found_in_a_store_that_was_restored(scene: Scene, tmp_path: Path) -> None:
    done = restore(tmp_path / "new.db", scene.path, 5_000_000_000_000, "me", lambda _: True)
    assert done.parked > 0
    assert check(tmp_path / "new.db") == []


def test_nothing_is_found_after_the_death_of_an_owner(path: Path) -> None:
    async def die() -> None:
        store = SqlStore.open(f"sqlite:///{path}")
        try:
            assert await store.end_worker("wrk_owner", WorkerState.DEAD, 9_000)
        finally:
            await store.close()

    asyncio.run(die())
    assert check(path) == []


def test_nothing_is_found_while_others_write(path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("DELETE FROM questions")
    assert check(path) == []
    other.execute("ROLLBACK")
    other.close()


# --- each column -----------------------------------------------------------------------------

OTHER: dict[str, str] = {
    "no": "no + 1000", "id": "id || 'x'", "status": "'cancelled'", "parked": "'budget'",
    "head": "zeroblob(32)",
}  # fmt: skip
"""What an edit puts into a column; else it is a text, or a number that is no good."""
TEXTS = {"agent", "version", "queue", "worker", "parent", "root", "key", "retry_of"}


@pytest.mark.parametrize("column", JOB_COLUMNS)
@pytest.mark.parametrize(
    "part", ["done", "failed", "asks", "sleeps", "delayed", "cancelled", "owned"]
)
def test_an_edit_of_a_jobs_row_is_found(scene: Scene, path: Path, part: str, column: str) -> None:
    value = OTHER.get(column, "'other'" if column in TEXTS else f"{column} + 7")
    if (part, column) == ("cancelled", "status"):
        value = "'failed'"
    edit(path, f"UPDATE jobs SET {column} = {value} WHERE id = '{scene.cast[part]}'")
    found = check(path)
    if column == "no":
        assert any("not there" in one.problem for one in found), found
    elif column == "id":
        told(found, f"{scene.cast[part]}x", "the chain breaks")
    else:
        told(found, scene.cast[part], f"jobs.{column}")


QUESTIONS = (
    "asks", "asks much", "listens", "waits for child", "paused", "in doubt", "in doubt twice",
    "cancelled in doubt", "waits for key", "alarm", "diverged",
)  # fmt: skip
NOT_IN_THE_HISTORY = {("waits for key", "since")}


@pytest.mark.parametrize("column", Question.__struct_fields__)
@pytest.mark.parametrize("part", QUESTIONS)
def test_an_edit_of_a_question_is_found(scene: Scene, path: Path, part: str, column: str) -> None:
    value = f"{column} + 7" if column in {"since", "until"} else "'other'"
    first = f"(SELECT min(step) FROM questions WHERE job_no = :{part})"
    which = f"job_no = :{part} AND step = {first}"
    edit(path, f"UPDATE questions SET {column} = {value} WHERE {which}", cast=scene.cast)
    if (part, column) in NOT_IN_THE_HISTORY:
        return
    told(check(path), scene.cast[part], "the question about")


WISHES = (
    "freed", "parent", "parent of failed", "cancelled", "approved", "signalled", "delayed",
    "paused", "resumed", "happened", "failed in doubt", "in doubt twice", "hung", "alarm", "owned",
)  # fmt: skip
"""The jobs of which somebody has wanted something."""
NO_TRACE = {("resume", "actor"), ("key", "step")}
UNREAD = {("signal", "actor"), ("signal", "step"), ("signal", "dedupe"), ("pause", "actor")}


@pytest.mark.parametrize("column", ["n", "kind", "step", "actor", "body", "dedupe"])
@pytest.mark.parametrize("part", WISHES)
def test_an_edit_of_the_inbox_is_found(scene: Scene, path: Path, part: str, column: str) -> None:
    value = "n + 50" if column == "n" else "'other'"
    conn = sqlite3.connect(path)
    of_the_job = "job_no = (SELECT no FROM jobs WHERE id = ?)"
    rows = conn.execute(
        f"SELECT job_no, n, kind FROM inbox WHERE {of_the_job}", (scene.cast[part],)
    ).fetchall()
    conn.close()
    assert rows
    for no, n, kind in rows:
        if (kind, column) in (NO_TRACE | UNREAD if part == "owned" else NO_TRACE):
            continue
        copy = scene.copy(path.with_name(f"{n}.db"))
        edit(copy, f"UPDATE inbox SET {column} = {value} WHERE job_no = {no} AND n = {n}")
        told(check(copy), scene.cast[part], "inbox")


@pytest.mark.parametrize("column", ["tool", "key", "digest", "job_no", "step"])
@pytest.mark.parametrize("part", ["paid", "holds key"])
def test_an_edit_of_a_global_key_is_found(scene: Scene, path: Path, part: str, column: str) -> None:
    value = ":done" if column == "job_no" else "'other'"
    edit(path, f"UPDATE global_keys SET {column} = {value} WHERE job_no = :{part}", cast=scene.cast)
    told(check(path), scene.cast[part], "the global key")


# --- rows that are gone, rows that nothing has written ----------------------------------------


@pytest.mark.parametrize("name", OF_A_JOB)
def test_an_edit_is_found(scene: Scene, path: Path, name: str) -> None:
    part, words, text = OF_A_JOB[name]
    edit(path, *text.split(";"), cast=scene.cast)
    told(check(path), scene.cast[part], words)


@pytest.mark.parametrize("name", OF_THE_FILE)
def test_an_edit_of_the_file_is_found(path: Path, name: str) -> None:
    words, text = OF_THE_FILE[name]
    edit(path, *(part.replace("  END", "; END") for part in text.split(";")))
    found = check(path)
    told(found, "", words)


def test_an_index_that_was_dropped_hides_no_other_edit(scene: Scene, path: Path) -> None:
    edit(
        path,
        "DROP INDEX events_job",
        "UPDATE jobs SET agent = 'x' WHERE no = :done",
        cast=scene.cast,
    )
    told(check(path), scene.cast["done"], "jobs.agent")


def test_a_store_that_is_wrong_all_over_does_not_fill_the_screen(path: Path) -> None:
    edit(
        path,
        "WITH RECURSIVE n (i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n LIMIT 3000)"
        " INSERT INTO events (job_no, seq, body, hash) SELECT i, 1, '{}', x'00' FROM n",
    )
    found = check(path)
    assert len(found) == MOST + 1
    assert "there is more" in found[-1].problem


def test_what_was_read_is_shown_without_its_escapes_and_its_length(
    path: Path, scene: Scene
) -> None:
    edit(path, f"UPDATE jobs SET queue = '{'x' * 10_000}' WHERE no = :done", cast=scene.cast)
    (found,) = check(path)
    assert "10,000 characters" in found.stored
    assert len(found.stored) < 300


def test_no_statistics_of_the_planner_are_held_against_a_store(path: Path) -> None:
    edit(path, "ANALYZE")
    assert check(path) == []


def test_what_cannot_be_known_is_left_out(path: Path) -> None:
    edit(path, "UPDATE inbox SET at = at + 1", "UPDATE workers SET beat_at = 0")
    assert check(path) == []


def test_a_resume_from_before_the_backup_is_no_consent(scene: Scene, tmp_path: Path) -> None:
    async def resume(path: Path) -> str:
        store = SqlStore.open(f"sqlite:///{path}")
        try:
            await store.deliver(wishes.resume("job_owned", "me"), 3_000)
            return (await store.job("job_owned")).parked
        finally:
            await store.close()

    path = scene.copy(tmp_path / "backup.db")
    assert asyncio.run(resume(path)) == ""
    restore(tmp_path / "new.db", path, 5_000, "me", lambda _: True)
    conn = connect(tmp_path / "new.db")
    found = conn.execute("SELECT parked FROM jobs WHERE id = 'job_owned'").fetchone()
    conn.close()
    assert found == ("restored",)
    assert check(tmp_path / "new.db") == []
