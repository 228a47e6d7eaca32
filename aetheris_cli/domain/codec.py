"""JSON as Aetheris keeps it: canonical bytes, digests, and what is refused at the door.

Canonical means sorted keys, no white space, UTF-8, shortest floats. Equal values have equal
bytes, so a digest of the bytes is a digest of the value. What JSON cannot carry faithfully
(NaN, integers beyond 64 bits, lone surrogates) is an error here, never a silent change.
"""

import hashlib
import json
import math
from collections import Counter
from typing import Any, Final

import msgspec

from aetheris_cli.domain.errors import InvalidPayload

MAX_DEPTH: Final = 128
MAX_BYTES: Final = 16 * 1024 * 1024
INLINE_BYTES: Final = 32 * 1024
"""A larger payload is kept once, by digest, outside the events that name it."""

MAX_NODES: Final = MAX_BYTES // 2
"""Every value takes a character and a comma."""

_INT_MAX: Final = 2**63 - 1
_INT_MIN: Final = -(2**63)

_canonical = msgspec.json.Encoder(order="sorted").encode
_EMPTY: Final = b"{}"


def canonical(value: Any, what: str = "payload") -> bytes:  # noqa: ANN401
    """Give the canonical JSON bytes of `value`, or raise InvalidPayload naming the place.

    `what` is how the error calls the value, for example "the result of tool charge".
    """
    if type(value) is dict and not value:
        return _EMPTY
    _check(value, what, 0, [MAX_NODES])
    try:
        data = _canonical(value)
    except UnicodeEncodeError as error:
        raise InvalidPayload(
            f"{what} holds half of a surrogate pair",
            why=f"such text cannot be written as UTF-8: {error.reason}",
            fix="clean the text, for example with text.encode('utf-8', 'replace').decode()",
        ) from error
    if len(data) > MAX_BYTES:
        raise InvalidPayload(
            f"{what} is {len(data):,} bytes as JSON",
            why=f"the limit is {MAX_BYTES:,} bytes",
            fix="keep the data elsewhere and pass a reference to it",
        )
    return data


def _check(  # noqa: C901 - one walk, no calls
    value: Any,  # noqa: ANN401
    what: str,
    depth: int,
    left: list[int],
) -> None:
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return
    if kind is int:
        if not _INT_MIN <= value <= _INT_MAX:
            raise InvalidPayload(
                f"{what} holds an integer of {value.bit_length()} bits",
                why="integers are kept in 64 bits, signed",
                fix="pass it as a string",
            )
    elif kind is float:
        if not math.isfinite(value):
            raise InvalidPayload(
                f"{what} holds {value}",
                why="JSON has no NaN and no infinity",
                fix="pass null or a string instead",
            )
    elif depth >= MAX_DEPTH:
        raise InvalidPayload(
            f"{what} is nested more than {MAX_DEPTH} levels deep",
            why="deeper data is a sign of a loop and exhausts readers",
            fix="flatten it",
        )
    elif kind is dict:
        _count(len(value), what, left)
        for key, item in value.items():
            if type(key) is not str:
                raise InvalidPayload(
                    f"{what} has a key of type {type(key).__name__}",
                    why="JSON objects have strings as keys",
                    fix="convert the keys to strings",
                )
            _check(item, what, depth + 1, left)
    elif kind is list or kind is tuple:
        _count(len(value), what, left)
        for item in value:
            _check(item, what, depth + 1, left)
    else:
        raise InvalidPayload(
            f"{what} holds a value of type {kind.__name__}",
            why="it must be JSON: object, array, string, number, true, false or null",
            fix="convert it, for example to a dict or a string",
        )


def _count(nodes: int, what: str, left: list[int]) -> None:
    """Bound the walk itself: a list that holds one list twice, and so on, is short in memory."""
    left[0] -= nodes + 1
    if left[0] < 0:
        raise InvalidPayload(
            f"{what} holds more than {MAX_NODES:,} values",
            why=f"as JSON it would be larger than {MAX_BYTES:,} bytes",
            fix="keep the data elsewhere and pass a reference to it",
        )


def parse(text: str | bytes, what: str = "payload") -> Any:  # noqa: ANN401
    """Read JSON that came from outside; refuse what `canonical` would refuse, and duplicate keys.

    Raises InvalidPayload.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_no_duplicates)
    except InvalidPayload as error:
        raise InvalidPayload(f"{what} {error.message}", why=error.why, fix=error.fix) from None
    except RecursionError:
        raise InvalidPayload(
            f"{what} is nested too deep to read", why=f"the limit is {MAX_DEPTH} levels"
        ) from None
    except UnicodeDecodeError as error:
        raise InvalidPayload(f"{what} is not UTF-8", why=str(error)) from None
    except ValueError as error:
        raise InvalidPayload(
            f"{what} is not JSON", why=str(error), fix="in a shell, quote it: '{\"a\": 1}'"
        ) from None
    canonical(value, what)
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise InvalidPayload(
            f"has the key {twice!r} twice in one object", why="one of the two would be lost"
        )
    return found


MAX_MESSAGE: Final = 1 << 20
"""Characters of a job's message."""
MAX_REASON: Final = 10_000
"""Characters of a person's reason or comment."""
MAX_NAME: Final = 1_000
"""Characters of a name, a key or a title."""


def text(value: object, what: str, *, most: int = MAX_NAME, empty: bool = False) -> str:
    """Give `value` if it is a text that can be kept, or raise InvalidPayload.

    The history names things by texts; anything else would be written and never read again.
    """
    if not isinstance(value, str):
        raise InvalidPayload(
            f"{what} is {type(value).__name__}, not a text", fix="give it as a string"
        )
    if not value.strip() and not empty:
        raise InvalidPayload(f"{what} is empty", fix="give it a text")
    if len(value) > most:
        raise InvalidPayload(f"{what} has {len(value):,} characters", why=f"the limit is {most:,}")
    canonical(value, what)
    return str(value)


def digest(data: bytes) -> str:
    """Give the SHA-256 of `data` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


_decode = msgspec.json.Decoder().decode


def decode(data: bytes | str) -> Any:  # noqa: ANN401
    """Read JSON that Aetheris itself has written."""
    return _decode(data)
