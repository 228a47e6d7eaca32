"""What is submitted in one turn of the loop, gathered into one operation of the store."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from aetheris_cli.ports.store import Started
from aetheris_cli.store.requests import MakeOp
from aetheris_cli.store.submissions import Answer, Submission, submit_all

_AT_ONCE: Final = 512

Waiting = tuple[Submission, "asyncio.Future[Started]"]


class Intake:
    """The submissions that wait for the end of this turn. `write` runs an operation."""

    def __init__(self, write: Callable[[MakeOp[Any]], Awaitable[Any]]) -> None:
        self._write = write
        self._waiting: list[Waiting] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, wanted: Submission) -> Started:
        """Create a job, or find it. Raises Conflict, StoreUnavailable and its children."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Started] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._send)
        self._waiting.append((wanted, answer))
        return await answer

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        for at in range(0, len(waiting), _AT_ONCE):
            task = asyncio.get_running_loop().create_task(self._keep(waiting[at : at + _AT_ONCE]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _keep(self, waiting: list[Waiting]) -> None:
        wanted = [one for one, _ in waiting]
        answers: Sequence[Answer | BaseException]
        try:
            answers = await self._write(lambda: submit_all(wanted))
        except BaseException as error:  # noqa: BLE001 - each caller is told, or waits for ever
            answers = [error] * len(waiting)
        for (_, future), answer in zip(waiting, answers, strict=True):
            if future.done():
                continue  # its caller has gone away
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)
