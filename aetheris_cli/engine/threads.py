"""Threads for plain functions. They are daemons: one that blocks keeps no process alive."""

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Final

_IDLE_S: Final = 10.0

_Work = tuple[Callable[[], Any], Callable[[Any, BaseException | None], None]]


class Threads:
    """A pool without an upper bound of its own: the engine bounds what it starts."""

    def __init__(self) -> None:
        self._idle: list[SimpleQueue[_Work]] = []
        self._lock = threading.Lock()
        self.busy = 0
        """How many functions run."""

    def start(
        self, function: Callable[[], Any], reply: Callable[[Any, BaseException | None], None]
    ) -> None:
        """Run `function` in a thread; `reply(result, error)` is called there afterwards."""
        context = contextvars.copy_context()
        work = (lambda: context.run(function), reply)
        with self._lock:
            queue = self._idle.pop() if self._idle else None
            self.busy += 1
        if queue is None:
            queue = SimpleQueue()
            threading.Thread(
                target=self._serve, args=(queue,), name="aetheris-tool", daemon=True
            ).start()
        queue.put(work)

    def _serve(self, queue: SimpleQueue[_Work]) -> None:
        pid = os.getpid()
        while True:
            try:
                function, reply = queue.get(timeout=_IDLE_S)
            except Empty:
                with self._lock:
                    if queue in self._idle:
                        self._idle.remove(queue)
                        return
                continue  # work is on its way
            result, error = None, None
            try:
                result = function()
            except BaseException as problem:  # noqa: BLE001 - a tool may raise anything
                error = problem
            if os.getpid() != pid:
                os._exit(0)  # the function forked, and this is the child: it has no say here
            with self._lock:
                self.busy -= 1
            reply(result, error)
            with self._lock:
                self._idle.append(queue)


async def in_thread(
    threads: Threads, function: Callable[[], Any], late: Callable[[Any, BaseException | None], None]
) -> Any:  # noqa: ANN401
    """Run a function in a thread and wait for it; after a cancellation `late` gets the outcome.

    `late` is called on the event loop.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:  # noqa: ANN401
        if done.done():
            late(result, error)
        elif error is None:
            done.set_result(result)
        else:
            done.set_exception(carried(error))

    def reply(result: Any, error: BaseException | None) -> None:  # noqa: ANN401
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            return  # the loop has ended

    threads.start(function, reply)
    try:
        return await done
    except asyncio.CancelledError:
        if done.done() and not done.cancelled():
            return done.result()  # the answer came first, and it is never dropped
        raise


class Carried(Exception):
    """Something raised in a thread that a future cannot carry as it is."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


def carried(error: BaseException) -> BaseException:
    """Wrap what would end the event loop (SystemExit) or confuse a future (StopIteration)."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return Carried(error)
