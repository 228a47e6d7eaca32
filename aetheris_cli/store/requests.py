"""How a store operation speaks to its database: a generator that yields statements.

An operation is written once and knows no driver. It yields `Q` (one named statement), `Many`
or `Find` (one statement over many rows) and is sent the answer: the rows, or the number of rows
touched.
Each database runs it inside one transaction. An operation that raises has written nothing.
"""

from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar


class Q(NamedTuple):
    """One named statement with its values; answered with all its rows."""

    name: str
    values: dict[str, Any] = {}  # noqa: RUF012 - never changed


class Many(NamedTuple):
    """One statement over many rows; answered with the number of rows touched."""

    name: str
    rows: Sequence[Sequence[Any]]


class Find(NamedTuple):
    """One statement that reads by many rows of values; answered with all rows found."""

    name: str
    rows: Sequence[Sequence[Any]]


Result = TypeVar("Result")
Op: TypeAlias = Generator[Q | Many | Find, Any, Result]
"""What a call of an operation gives: run it to get its result."""
MakeOp: TypeAlias = Callable[[], Op[Result]]
"""An operation that can be started, more than once when its transaction must be repeated."""
