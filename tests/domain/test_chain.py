"""Sealing: what is written can be read, whatever stands in it, and no edit goes unseen."""

from typing import Any, get_args

import pytest
from msgspec import Raw

from aetheris_cli.domain import chain, codec
from aetheris_cli.domain import events as ev

LARGE = Raw(b'"' + b"x" * (codec.INLINE_BYTES + 1) + b'"')
SMALL = Raw(b'{"a":1}')
NEEDED: dict[str, Any] = {
    "agent": "a", "worker": "w", "reason": "r", "outcome": "failed", "error": ev.Error("e"),
    "next_at": 1, "verdict": "happened", "n": 1, "of_epoch": 1, "title": "t", "name": "n",
    "received": 1, "until": 1, "child": "c", "digest": "d", "status": "s", "kind": "k",
    "text": "t", "value": SMALL, "approved": True, "what": "cancel",
}  # fmt: skip
KINDS = get_args(ev.AnyEvent)


def made(kind: Any, **more: Any) -> Any:
    fields = {name: NEEDED[name] for name in kind.__struct_fields__ if name in NEEDED}
    return kind(**(fields | more))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_event_is_read_as_it_was_written(kind: Any) -> None:
    event = made(kind, at=5, step="1.2", actor="\u00e9\u2603")
    (line,), payloads = chain.seal(3, chain.genesis("job"), 2, [event])
    assert (line.seq, payloads) == (4, [])
    assert ev.decode(line.body) == event


VALUES = [(kind, field) for kind in KINDS for field in kind.values]


@pytest.mark.parametrize(
    ("kind", "field"), VALUES, ids=[f"{kind.__name__}.{field}" for kind, field in VALUES]
)
@pytest.mark.parametrize("others", [SMALL, LARGE])
def test_a_large_value_stands_beside_its_line(kind: Any, field: str, others: Raw) -> None:
    event = made(kind, **(dict.fromkeys(kind.values, others) | {field: LARGE}))
    (line,), payloads = chain.seal(0, chain.genesis("job"), 1, [event])
    found = ev.decode(line.body)
    assert found.refs is not None
    assert found.refs[field] == codec.digest(bytes(LARGE))
    assert (found.refs[field], bytes(LARGE)) in payloads
    assert bytes(getattr(event, field)) == bytes(LARGE)
    assert len(line.body) < codec.INLINE_BYTES


def test_the_first_line_that_does_not_chain_is_found() -> None:
    lines = chain.seal(0, chain.genesis("job"), 1, [made(kind) for kind in KINDS]).lines
    stored = [tuple(line) for line in lines]
    assert chain.first_break("job", stored) is None
    assert chain.first_break("other", stored) == 1
    edited = [*stored]
    edited[6] = (7, edited[6][1].replace("{", "{ ", 1), edited[6][2])
    assert chain.first_break("job", edited) == 7
    assert chain.first_break("job", [*stored[:4], *stored[5:]]) == 5
    assert chain.first_break("job", [*stored[:4], stored[3], *stored[4:]]) == 5
