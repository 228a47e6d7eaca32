"""Operations on an open connection: runs what they ask for, in as few statements as fit."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from aetheris_cli.store.requests import Find, Many, Op, Q
from aetheris_cli.store.sql import many, queries

_CHUNK_VALUES: Final = 448
"""Values in one statement: past this the gain is gone and the statement cache suffers."""


def run(conn: Any, op: Op[Any]) -> Any:  # noqa: ANN401
    """Run one operation to its end on `conn` and give its result."""
    answer: Any = None
    statements = queries()
    try:
        while True:
            request = op.send(answer)
            if isinstance(request, Q):
                answer = conn.execute(statements[request.name], request.values).fetchall()
            elif isinstance(request, Many):
                answer = _run_many(conn, request)
            else:
                answer = _find(conn, request)
    except StopIteration as stop:
        return stop.value


def _run_many(conn: Any, request: Many) -> int:  # noqa: ANN401
    """Run a statement over many rows, in as few steps as fit.

    Each step of a statement lets go of the interpreter lock and has to win it back, so one
    statement over sixty rows costs far less than sixty statements.
    """
    return sum(conn.execute(*part).rowcount for part in _parts(request.name, request.rows))


def _find(conn: Any, request: Find) -> list[Any]:  # noqa: ANN401
    found = []
    for part in _parts(request.name, request.rows):
        found += conn.execute(*part).fetchall()
    return found


def _parts(name: str, rows: Sequence[Sequence[Any]]) -> Iterator[tuple[str, list[Any]]]:
    """Cut a statement over many rows into statements of sizes that are prepared already."""
    largest = _CHUNK_VALUES // len(rows[0])
    at = 0
    while at < len(rows):
        size = min(largest, len(rows) - at)
        if size < largest:
            size = 1 << (size.bit_length() - 1)  # powers of two keep the statements few
        yield many(name, size), [value for row in rows[at : at + size] for value in row]
        at += size
