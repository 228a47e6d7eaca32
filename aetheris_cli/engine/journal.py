"""A job's history while this worker owns it: in memory, on its way to the disk, and the inbox.

Everything that a run writes passes here, in order. A change is taken into the history in memory
at once; the committer writes it. When somebody has put a wish into the job's inbox, changes that
guard on the inbox come back, and what has arrived goes in front of them.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from aetheris_cli.domain import changes, wishes
from aetheris_cli.domain import events as ev
from aetheris_cli.domain.changes import Change, Tip
from aetheris_cli.domain.events import AnyEvent
from aetheris_cli.domain.history import fold
from aetheris_cli.domain.records import InboxRow, JobRow
from aetheris_cli.engine.committer import Committer
from aetheris_cli.ports.clock import Clock
from aetheris_cli.ports.store import Store


class Stopped(BaseException):
    """Ends the agent's code when its run is over for this worker.

    It is no Exception, so that `except Exception` in an agent does not swallow it.
    """


class Desk(Protocol):
    """Where a journal writes: the worker."""

    store: Store
    clock: Clock
    committer: Committer

    def background(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that nobody waits for; an error in it stops the worker."""


class Subject(Protocol):
    """Whose journal it is: the run, told what arrives."""

    def arrived(self, events: Sequence[AnyEvent]) -> None:
        """React to events that wishes have become."""

    def withdrawn(self, step: str) -> None:
        """Take note that an attempt will not be made: its intent was never written."""

    def discard(self) -> None:
        """Stop: another worker owns the job now."""


class Journal:
    """The one way in which a run writes."""

    def __init__(
        self, subject: Subject, desk: Desk, row: JobRow, events: Sequence[AnyEvent]
    ) -> None:
        self._subject: Subject | None = subject
        self._desk = desk
        self._row = row
        self._loop = asyncio.get_running_loop()
        self.history = fold(events)
        self.tip = Tip(row.no, row.id, row.worker, row.epoch, row.seq, row.head, row.inbox_done)
        self.over = False
        """Nothing is written any more."""
        self.ending = False
        """The last change is on its way."""
        self._stalled: list[Change] | None = None
        """What waits until the inbox has been read; None: nothing does."""
        self._reading = False
        self._read_again = False
        """Something may have arrived after the read under way had begun."""
        self._barriers: set[asyncio.Future[None]] = set()

    @property
    def stalled(self) -> bool:
        """Whether the inbox is being read."""
        return self._stalled is not None

    # --- writing -----------------------------------------------------------------------------

    def queue(self, change: Change) -> None:
        """Seal a change, take it into the history in memory, and hand it to the committer."""
        if self.over or self.ending:
            raise Stopped
        change.owner = self
        self.tip.seal(change)
        fold(change.events, self.history)
        self._hand_over(change)

    def propose(
        self, change: Change, then: Callable[[], None], overtaken: Callable[[], None]
    ) -> None:
        """Queue what somebody's wish may overtake: the end of a wait by its time.

        Only when it is durable, it is taken into the history in memory and `then` is called.
        """
        if self.over or self.ending:
            raise Stopped

        def durable() -> None:
            fold(change.events, self.history)
            then()

        change.on_durable, change.on_overtaken = durable, overtaken
        change.owner = self
        self.tip.seal(change)
        self._hand_over(change)

    def last(self, change: Change, *, overtaken: Callable[[], None] | None = None) -> None:
        """Queue the change that gives the job away. Nothing follows it, unless it comes back."""
        self.ending = True
        change.on_overtaken = overtaken
        change.owner = self
        self.tip.seal(change)
        self._hand_over(change)

    def _hand_over(self, change: Change) -> None:
        if self._stalled is not None:
            self._stalled.append(change)
        else:
            self._desk.committer.put(change)

    async def barrier(self) -> None:
        """Wait until everything queued so far is on the disk."""
        future: asyncio.Future[None] = self._loop.create_future()

        def durable() -> None:
            if not future.done():
                future.set_result(None)

        change = Change([ev.LogWritten(at=self._desk.clock.now_ms(), text="checkpoint")])
        change.on_durable = durable
        self.queue(change)
        self._barriers.add(future)
        try:
            await future
        finally:
            self._barriers.discard(future)

    def close(self) -> None:
        """Write nothing more, and let nobody wait for what will not come."""
        self.over = True
        # Run and journal would keep each other alive until the collector of garbage comes.
        self._subject = None
        for future in self._barriers:
            future.cancel()

    def refused(self, back: list[Change], *, stale: bool) -> None:
        """Take back changes: the job is lost, or somebody has put something into its inbox."""
        if not stale:
            if self._subject is not None:
                self._subject.discard()
            return
        self._stalled = [*back, *(self._stalled or ())]
        self.read_inbox()

    # --- the inbox ---------------------------------------------------------------------------

    def rung(self) -> None:
        """Somebody has put something into the inbox.

        Not while a last change is on its way: it guards on the inbox, so either it has given
        the job away before the wish came, or it comes back and the inbox is read then. Reading
        now would hand the outcome to code that may not issue commands any more.
        """
        if not self.ending:
            self.read_inbox()

    def read_inbox(self) -> None:
        """Fetch what is unread and take it into the history, before anything else is written."""
        if self._stalled is None:
            self._stalled = []
        if self._reading:
            # Two readers at once would take the same wish twice.
            self._read_again = True
            return
        self._reading = True
        self._desk.background(self._read_inbox())

    async def _read_inbox(self) -> None:
        while True:
            self._read_again = False
            rows = await self._desk.store.inbox(self._row.no, self.tip.inbox_seq)
            if not self._read_again:
                break
        self._reading = False
        stalled = self._stalled
        if self.over or stalled is None:
            return
        self._stalled = None
        if stalled:
            self.tip.seq, self.tip.head = stalled[0].after_seq, stalled[0].after_head
        self._take(rows, stalled)

    def _take(self, rows: list[InboxRow], stalled: list[Change]) -> None:
        """Put what arrived between what the code has seen already and what it may not do yet.

        Changes without a guard on the inbox are results: the code has gone on with them, so they
        stay in front. Those with one have had no effect, and follow what has arrived.
        """
        moved: dict[int, int] = {}
        for change in stalled:
            if not change.inbox:
                self._seal_again(change, moved)
        guarded = [change for change in stalled if change.inbox]
        for change in guarded:
            if change.on_overtaken is not None and not change.gives_away:
                change.on_overtaken()
        events = self._read(rows)
        for change in guarded:
            self._put_again(change, moved)
        if self._subject is not None:
            self._subject.arrived(events)

    def _read(self, rows: list[InboxRow]) -> list[AnyEvent]:
        """Take wishes into the history, one after the other; give what they have become."""
        events: list[AnyEvent] = []
        now = self._desk.clock.now_ms()
        for row in rows:
            if row.kind in {"cancel", "pause", "resume"}:
                taken = wishes.Taken([wishes.noted(row, now)])
            else:
                taken = wishes.take(row, self._row, self.history, (), now)
            self.tip.inbox_seq = row.n
            change = changes.inbox_read(taken.events, row.n, taken.answered, taken.ask)
            change.owner = self
            change.keyed = any(isinstance(event, ev.CallSettled) for event in taken.events)
            self.tip.seal(change)
            fold(taken.events, self.history)
            self._desk.committer.put(change)
            events += taken.events
        return events

    def _put_again(self, change: Change, moved: dict[int, int]) -> None:
        """Queue what was refused once more, as it now stands; drop what may no longer be."""
        if change.on_overtaken is not None:
            if change.gives_away:
                self.ending = False
                change.on_overtaken()
        elif self.history.cancel is not None:
            # Not one intent after an acknowledged cancel, and an end only by the cancel.
            self._forget(change)
            if change.gives_away:
                self.ending = False
        elif self.history.pause is not None and _is_intent(change):
            self._forget(change)
        else:
            self._seal_again(change, moved)

    def _seal_again(self, change: Change, moved: dict[int, int]) -> None:
        """Give a change its new place, and mend what names events by their old numbers."""
        old = [event.seq for event in change.events]
        for event in change.events:
            event.cause = moved.get(event.cause, event.cause)
            if isinstance(event, ev.SignalConsumed):
                event.received = moved.get(event.received, event.received)
        self.tip.seal(change)
        for was, event in zip(old, change.events, strict=True):
            moved[was] = event.seq
            step = self.history.steps.get(event.step)
            if step is not None:
                step.last_seq = event.seq if step.last_seq == was else step.last_seq
                step.done_seq = event.seq if step.done_seq == was else step.done_seq
        self._desk.committer.put(change)

    def _forget(self, change: Change) -> None:
        """Take intents that were never written out of the history in memory."""
        for event in change.events:
            step = self.history.steps.get(event.step)
            if isinstance(event, ev.CallIntended) and step is not None:
                step.attempts.pop()
                if not step.attempts:
                    del self.history.steps[event.step]
                if self._subject is not None:
                    self._subject.withdrawn(event.step)


def _is_intent(change: Change) -> bool:
    return len(change.events) == 1 and isinstance(change.events[0], ev.CallIntended)
