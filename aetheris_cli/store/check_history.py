"""The events of one job: its chain is followed, and what they make of the rows is kept."""

from collections.abc import Iterable
from hashlib import sha256
from typing import Any, Final

import msgspec
from msgspec import Raw

from aetheris_cli.domain import chain, origins
from aetheris_cli.domain import events as ev
from aetheris_cli.domain.events import AnyEvent
from aetheris_cli.domain.projection import Projection
from aetheris_cli.store.check_file import is_text
from aetheris_cli.store.check_inbox import Inbox
from aetheris_cli.store.findings import Finding, Findings, differs, shown

Conn = Any
_PAYLOAD: Final = "SELECT CAST(body AS BLOB) FROM payloads WHERE digest = ?"


class History:
    """What one job's events say, read once and in order."""

    def __init__(self, conn: Conn, job: str, inbox: Inbox) -> None:
        self._conn = conn
        self._job = job
        self._inbox = inbox
        self.head = chain.genesis(job)
        self.wanted = Projection()
        self.whole = False
        """Whether all of it could be read, so that it says what the rows must be."""

    def read(self, lines: Iterable[tuple[Any, ...]]) -> Findings:
        """Read the lines, up to the first that is not what was written."""
        at = 0
        for at, (seq, kind, body, stored) in enumerate(lines, start=1):
            self.head = sha256(self.head + body).digest()
            if seq != at or stored != self.head:
                yield differs(self._job, f"the chain breaks at event {at}: hash", stored, self.head)
                return
            event = self._decode(body)
            if kind != "text" or not is_text(body):
                yield Finding(self._job, f"event {at} is no text", kind, "text")
            if isinstance(event, str):
                yield Finding(self._job, f"event {at} cannot be read: {event}")
                return
            yield from self._take(event, at)
        yield from self._end(at)

    def _end(self, events: int) -> Findings:
        if not events:
            yield Finding(self._job, "it has no events", "nothing", "at least its submission")
        self.whole = self.wanted.history.submitted is not None

    def _decode(self, body: bytes) -> AnyEvent | str:
        """Read one line; give why that cannot be done."""
        try:
            return ev.decode(body)
        except (msgspec.MsgspecError, UnicodeError) as error:
            return str(error)

    def _take(self, event: AnyEvent, at: int) -> Findings:
        if event.seq != at:
            yield differs(self._job, f"the number in event {at}", event.seq, at)
        if (at == 1) is not isinstance(event, ev.JobSubmitted):
            yield Finding(self._job, f"event {at} is out of place", type(event).__name__)
        complete = True
        for field, digest in (event.refs or {}).items():
            found = self._conn.execute(_PAYLOAD, (digest,)).fetchone()
            if found is None:
                complete = False
                what = f"the payload {digest} of event {at} is missing"
                yield Finding(self._job, what, "nothing", field)
            elif origins.brings_value(event):
                setattr(event, field, Raw(found[0]))
        # A wish cannot be told without the value that it brought.
        yield from self._inbox.meet(event, complete=complete)
        try:
            self.wanted.add(event)
        except (ValueError, LookupError) as error:
            yield Finding(self._job, f"event {at} makes no sense", shown(str(error)))
