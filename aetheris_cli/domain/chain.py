"""The hash chain of a history: each line's hash covers the line before it and its own bytes.

hash(0) = SHA-256("aetheris:1:" + job id), hash(n) = SHA-256(hash(n - 1) + line n). The bytes
hashed are the bytes stored.
"""

import copy
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple

from msgspec import Raw

from aetheris_cli.domain import codec, events
from aetheris_cli.domain.events import NULL, AnyEvent


class Line(NamedTuple):
    """One stored event."""

    seq: int
    body: str
    hash: bytes


class Sealed(NamedTuple):
    """What sealing gives: the lines, and the payloads that were too large for them."""

    lines: list[Line]
    payloads: list[tuple[str, bytes]]


def genesis(job_id: str) -> bytes:
    """Give the hash before the first event of a job."""
    return sha256(f"aetheris:1:{job_id}".encode()).digest()


def seal(seq: int, head: bytes, epoch: int, new: Sequence[AnyEvent]) -> Sealed:
    """Give `new` numbers from `seq` + 1, chain them to `head`, and return their lines.

    The events are changed: `seq` and `epoch` are set, large values move to `refs`. Sealing
    the same events again, after others came before them, is allowed.
    """
    lines: list[Line] = []
    payloads: list[tuple[str, bytes]] = []
    for event in new:
        seq += 1
        event.seq = seq
        event.epoch = epoch
        for field in event.values:
            value: Raw = getattr(event, field)
            if len(value) > codec.INLINE_BYTES:
                data = bytes(value)
                payloads.append((codec.digest(data), data))
        body = events.encode(_without_large(event) if payloads else event)
        head = sha256(head + body).digest()
        lines.append(Line(seq, body.decode(), head))
    return Sealed(lines, payloads)


def _without_large(event: AnyEvent) -> AnyEvent:
    """Give the event with large values replaced by their digests; the original keeps them."""
    slim = copy.copy(event)
    refs = slim.refs = dict(event.refs or {})
    for field in event.values:
        value: Raw = getattr(event, field)
        if len(value) > codec.INLINE_BYTES:
            refs[field] = codec.digest(bytes(value))
            # Not NONE: where that is not the field's default, it is written, and is no JSON.
            setattr(slim, field, NULL)
    return slim


def first_break(job_id: str, lines: Iterable[tuple[int, str, bytes]]) -> int | None:
    """Give the first seq at which stored lines do not chain, or None when all do."""
    head = genesis(job_id)
    for expected, (seq, body, stored) in enumerate(lines, start=1):
        head = sha256(head + body.encode()).digest()
        if seq != expected or head != stored:
            return expected
    return None
