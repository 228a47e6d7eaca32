"""Time limits of many calls on one timer.

A timer of the event loop for each call is a large part of what a short call costs, and almost
none of them ever fires. Here a limit is an entry in a table, rounded up to a grain.
"""

import asyncio
import math
from typing import Final, Protocol

GRAIN_S: Final = 0.05


class Limited(Protocol):
    """Something with a time limit."""

    tick: int
    """Where it stands in the table; 0: nowhere."""

    def expire(self) -> None:
        """End it: its time is over."""


class Deadlines:
    """The limits of everything that is in flight in one worker."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._table: dict[int, dict[Limited, None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._at = 0
        """The tick at which the timer fires."""

    def add(self, one: Limited, seconds: float) -> None:
        """Let `one` expire after that time; at most a grain later."""
        tick = math.ceil((self._loop.time() + seconds) / GRAIN_S)
        one.tick = tick
        row = self._table.get(tick)
        if row is None:
            row = self._table[tick] = {}
            self._wake_at(tick)
        row[one] = None

    def remove(self, one: Limited) -> None:
        """Forget `one`."""
        row = self._table.get(one.tick)
        if row is not None:
            row.pop(one, None)
            if not row:
                del self._table[one.tick]
        one.tick = 0

    def _wake_at(self, tick: int) -> None:
        if self._timer is not None:
            if self._at <= tick:
                return
            self._timer.cancel()
        self._at = tick
        self._timer = self._loop.call_at(tick * GRAIN_S, self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = self._loop.time() / GRAIN_S
        for tick in [tick for tick in self._table if tick <= now]:
            for one in self._table.pop(tick):
                one.tick = 0
                one.expire()
        if self._table:
            self._wake_at(min(self._table))

    def close(self) -> None:
        """Let nothing expire any more."""
        self._table.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
