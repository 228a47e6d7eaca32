"""No hot query walks a table, and none sorts what an index could give in order."""

import asyncio
import re
from typing import Any

import pytest

from aetheris_cli.store.connection import connect
from aetheris_cli.store.sql import many, queries
from aetheris_cli.store.sqlite_lib import sqlite3
from aetheris_cli.store.sqlstore import SqlStore

SORTS = {
    # The questions of one job, of which there are few.
    "questions_of",
    # Workers with a lease, and the latest: as many as there are processes.
    "workers_alive",
    "workers_all",
}
WALKS = {
    # The few that are asked by a person, and rarely: the index of the counted column is walked.
    "count_by_status",
    "workers_all",
}
BY_THE_KEY = {
    # Newest first by the table's own key, up to a limit.
    "list_all",
    "last_job",
}
NOT_QUERIES = {"point", "undo", "data_version"}


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("plans") / "jobs.db"
    store = SqlStore.open(f"sqlite:///{path}", create=True)
    found = connect(path)
    yield found
    found.close()
    asyncio.run(store.close())


def statement(name: str) -> str:
    text = queries()[name]
    return many(name, 3) if ":rows" in text else text


def plan(connection: Any, name: str) -> list[str]:
    text = statement(name)
    values: Any = [None] * text.count("?") or dict.fromkeys(names_of(text))
    try:
        rows = connection.execute(f"EXPLAIN QUERY PLAN {text}", values).fetchall()
    except sqlite3.Error as error:
        pytest.fail(f"{name}: {error}")
    return [row[3] for row in rows]


def names_of(text: str) -> set[str]:
    return set(re.findall(r":([a-z_]+)", text))


@pytest.mark.parametrize("name", sorted(set(queries()) - NOT_QUERIES - BY_THE_KEY))
def test_the_plan_of(connection: Any, name: str) -> None:
    steps = plan(connection, name)
    tables = ("jobs", "events", "payloads", "inbox", "questions", "job_labels", "workers")
    for step in steps:
        words = step.split()
        walks = words[0] == "SCAN" and words[1] in tables and "INDEX" not in words
        whole = words[0] == "SCAN" and words[1] in tables and "WHERE" not in statement(name)
        assert not (walks or whole) or name in WALKS, steps
        assert "USE TEMP B-TREE" not in step or name in SORTS, steps


@pytest.mark.parametrize(
    ("name", "indexes"),
    [
        ("claimable", ["jobs_wake", "jobs_delayed", "jobs_ready"]),
        ("claimable_of_root", ["sqlite_autoindex_jobs_1", "jobs_root"]),
        ("due_of_agents", ["jobs_ready", "jobs_wake", "jobs_delayed"]),
        ("unread_of_worker", ["jobs_unread"]),
        ("jobs_of_worker", ["jobs_worker"]),
        ("children_of", ["jobs_parent"]),
        ("questions_open", ["questions_open"]),
        ("job_by_key", ["jobs_key"]),
        ("list_by_status", ["jobs_status"]),
        ("list_by_agent", ["jobs_agent"]),
    ],
)
def test_a_query_that_is_asked_often_uses_the_index_made_for_it(
    connection: Any, name: str, indexes: list[str]
) -> None:
    used = re.findall(r"INDEX ([a-z]\w+)", " ".join(plan(connection, name)))
    assert used == indexes


def test_a_walk_would_be_seen(connection: Any) -> None:
    rows = connection.execute("EXPLAIN QUERY PLAN SELECT * FROM jobs WHERE retry_of = 'x'")
    assert [row[3] for row in rows] == ["SCAN jobs"]
