"""SIGINT and SIGTERM: the first stops a worker in good order, a second one ends the process."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from aetheris_cli.cli.base import out

if TYPE_CHECKING:
    from aetheris_cli.engine.worker import Worker


@contextmanager
def signals(worker: "Worker") -> Iterator[Callable[[], int]]:
    """Stop `worker` at a signal; gives a function that says which one came (0: none).

    The handlers are Python's own and not the loop's: they are heard while an agent blocks it.
    """
    loop = asyncio.get_running_loop()
    got = 0

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal got
        if got:
            # What is on the disk stays there; the lock falls free and others take over.
            os._exit(128 + number)
        got = number
        out.note("stopping: waiting for calls in flight; once more to leave at once")
        loop.call_soon_threadsafe(worker.stop)

    before = {one: signal.signal(one, handle) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: got
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
