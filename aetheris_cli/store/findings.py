"""What `store check` finds: one place each, with what stands there and what must stand there."""

import hashlib
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeAlias

_SHOWN: Final = 160


class Finding(NamedTuple):
    """One difference, or one thing that cannot be read."""

    id: str
    """The job; for what belongs to none, the file or the payload."""
    problem: str
    stored: str = ""
    expected: str = ""


Findings: TypeAlias = Iterator[Finding]


def shown(value: Any) -> str:  # noqa: ANN401 - whatever stands in a column
    """Write a value so that it fits into a line."""
    if value is None:
        return "nothing"
    text = f"x'{value.hex()}'" if isinstance(value, bytes) else str(value)
    if len(text) <= _SHOWN:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{text[:_SHOWN]}… ({len(text):,} characters, sha256 {digest[:12]})"


def differs(job: str, place: str, stored: Any, expected: Any) -> Finding:  # noqa: ANN401
    """Report a value that is not what it must be."""
    return Finding(job, f"{place} differs", shown(stored), shown(expected))


def same(stored: Any, expected: Any) -> bool:  # noqa: ANN401
    """Whether two values are the same and of one kind: SQLite keeps whatever it is given."""
    return type(stored) is type(expected) and stored == expected
