"""The committer: takes everything queued since the last commit into the next one.

Runs queue changes and go on; only those that must wait for the disk do. One commit is under
way at a time, so a job's changes reach the log in order, and what an awaited commit covers,
everything before it is covered too.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from aetheris_cli.domain.changes import Change
from aetheris_cli.domain.errors import StoreBusy, StoreFull
from aetheris_cli.ports.clock import Clock
from aetheris_cli.ports.store import Refused, Store

MAX_BATCH: Final = 2_048
MAX_QUEUED: Final = 8_192
_RETRY_S: Final = 0.25
_LINGER_TURNS: Final = 12
_GATHER_TURNS: Final = 3
_FEW: Final = 2


class Owner(Protocol):
    """Whoever queues changes of one job: its journal."""

    def refused(self, changes: list[Change], *, stale: bool) -> None:
        """Take back changes that were not written, in order."""


class Committer:
    """Groups changes of all runs of one worker into transactions."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        on_failure: Callable[[BaseException], None],
        on_trouble: Callable[[str], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._on_failure = on_failure
        self._on_trouble = on_trouble
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._queue: list[Change] = []
        self._under_way: list[Change] = []
        self._scheduled = False
        self._lingering = 0
        self._few = True
        """The last commit had hardly anyone who waited: there is nothing to gather."""
        self._waiting: deque[Callable[[], None]] = deque()
        """Those who begin something new when there is room."""
        self._idle: asyncio.Future[None] | None = None
        self.troubled = ""
        """Why nothing is written for the moment; empty: all is well."""

    @property
    def full(self) -> bool:
        """Whether whoever would start new work should wait for `room`."""
        return len(self._queue) >= MAX_QUEUED

    def put(self, change: Change) -> None:
        """Queue a sealed change.

        One that somebody waits for is sent at the end of this turn of the loop, with what the
        others have. Any other lingers for a few turns of the loop, in which the agent mostly
        reaches its next intent: then one commit takes both.
        """
        self._queue.append(change)
        if self._scheduled or self._under_way:
            return
        if change.on_durable is not None:
            self._scheduled = True
            self._loop.call_soon(self._flush)
        elif not self._lingering:
            self._lingering = _LINGER_TURNS
            self._loop.call_soon(self._linger)

    def _linger(self) -> None:
        self._lingering -= 1
        if self._scheduled or self._under_way or not self._queue:
            self._lingering = 0  # what comes goes with the commit that is on its way
        elif self._lingering > 0:
            self._loop.call_soon(self._linger)
        else:
            self._flush()

    def when_room(self, begin: Callable[[], None]) -> None:
        """Call `begin` as soon as the queue is shorter than its bound."""
        self._waiting.append(begin)

    async def idle(self) -> None:
        """Wait until nothing is queued or under way."""
        while self._queue or self._under_way:
            if self._idle is None:
                self._idle = self._loop.create_future()
            await asyncio.shield(self._idle)

    def _gather(self, turns: int) -> None:
        """Send the next batch in a few turns: those who were told just now mostly reach it."""
        if turns:
            self._loop.call_soon(self._gather, turns - 1)
        else:
            self._flush()

    def _flush(self) -> None:
        self._scheduled = False
        if self._under_way or not self._queue:
            return
        if len(self._queue) <= MAX_BATCH:
            self._under_way, self._queue = self._queue, []
        else:
            self._under_way = self._queue[:MAX_BATCH]
            del self._queue[:MAX_BATCH]
        self._send(here=self._few and self._waiters(self._under_way) == 1)

    @staticmethod
    def _waiters(batch: list[Change]) -> int:
        return sum(change.on_durable is not None for change in batch)

    def _send(self, *, here: bool = False) -> None:
        """Have the batch written; `here`, where it holds up nobody else, in this very thread."""
        self._store.commit(self._under_way, self._clock.now_ms(), self._reply, here=here)

    def _reply(self, refused: list[Refused] | None, error: BaseException | None) -> None:
        """Come back from the thread that wrote."""
        if threading.get_ident() == self._thread:
            self._loop.call_soon(self._committed, refused, error)
            return
        try:
            self._loop.call_soon_threadsafe(self._committed, refused, error)
        except RuntimeError:
            return  # the loop has ended, and everybody who waited with it

    def _committed(self, refused: list[Refused] | None, error: BaseException | None) -> None:
        if error is not None:
            self._failed(error)
            return
        self._say("")
        batch, self._under_way = self._under_way, []
        if refused:
            gone = {id(change) for one in refused for change in one.changes}
            batch = [change for change in batch if id(change) not in gone]
        waiting = [change.on_durable for change in batch if change.on_durable is not None]
        self._few = len(waiting) <= _FEW
        try:
            for durable in waiting:
                durable()
            for one in refused or ():
                self._give_back(one)
            while self._waiting and not self.full:
                self._waiting.popleft()()
        except BaseException as problem:  # noqa: BLE001 - it would end in the loop's log, unseen
            self._on_failure(problem)
            return
        if self._queue and self._few:
            self._flush()
        elif self._queue:
            self._scheduled = True
            self._gather(_GATHER_TURNS)
        if self._idle is not None and not (self._queue or self._under_way):
            self._idle.set_result(None)
            self._idle = None

    def _give_back(self, one: Refused) -> None:
        """Return refused changes and all later ones of their job, which build on them."""
        owner = one.changes[0].owner
        later = [change for change in self._queue if change.owner is owner]
        if later:
            self._queue = [change for change in self._queue if change.owner is not owner]
        owner.refused([*one.changes, *later], stale=one.stale)

    def _say(self, trouble: str) -> None:
        if trouble != self.troubled:
            self.troubled = trouble
            self._on_trouble(trouble)

    def _failed(self, error: BaseException) -> None:
        if isinstance(error, StoreFull | StoreBusy):
            # Nothing was written, and nothing is lost: the same batch again, until it fits.
            self._say(str(error))
            self._loop.call_later(_RETRY_S, self._send)
            return
        self._on_failure(error)
