"""Rows of many tables, side by side in the order of the jobs that they belong to."""

import math
from collections.abc import Iterator
from typing import Any

_Row = tuple[Any, ...]


class Stream:
    """The rows of one table, job by job. It is asked for jobs in rising order."""

    def __init__(self, conn: Any, table: str, columns: str, order: str) -> None:  # noqa: ANN401
        # The columns and tables are ours. Each order is that of an index or of the table itself.
        text = f"SELECT job_no, {columns} FROM {table} ORDER BY job_no, {order}"  # noqa: S608
        self._rows: Iterator[_Row] = iter(conn.execute(text))
        self._next = next(self._rows, None)

    def _at(self) -> float:
        """Give the job of the next row. SQLite orders what is no number after all numbers."""
        if self._next is None:
            return math.inf
        no = self._next[0]
        return no if isinstance(no, int | float) else math.inf

    def of(self, no: int) -> Iterator[_Row]:
        """Give the rows of a job, without its number."""
        while self._next is not None and self._at() == no:
            row = self._next[1:]
            self._next = next(self._rows, None)
            yield row

    def skip(self, no: int) -> None:
        """Leave out what is left of a job."""
        for _ in self.of(no):
            pass

    def before(self, no: int) -> Iterator[Any]:
        """Give the numbers of the jobs before this one that still have rows."""
        while self._next is not None and self._at() < no:
            yield from self._stray()

    def rest(self) -> Iterator[Any]:
        """Give the numbers of all jobs that still have rows."""
        while self._next is not None:
            yield from self._stray()

    def _stray(self) -> Iterator[Any]:
        if self._next is not None:
            stray = self._next[0]
            while self._next is not None and self._next[0] == stray:
                self._next = next(self._rows, None)
            yield stray
