"""`ctx.gather`: branches of an agent that run in parallel, and their results in order."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from aetheris_cli.domain.errors import UsageError
from aetheris_cli.engine.branches import Branch
from aetheris_cli.engine.run import Run

MAX_AT_ONCE: Final = 100
"""How many branches of one gather run at the same time, unless the agent says otherwise."""
MAX_BRANCHES: Final = 10_000
_NAMED: Final = 8


class Gather:
    """One gather: its branches, how many run, and their results."""

    def __init__(
        self,
        run: Run,
        parent: Branch,
        code: tuple[Callable[[], Awaitable[Any]], ...],
        limit: int,
    ) -> None:
        if len(code) > MAX_BRANCHES or not isinstance(limit, int) or limit < 1:
            raise UsageError(
                f"gather was given {len(code)} branches and the limit {limit!r}",
                why=f"at most {MAX_BRANCHES} branches, at least one at a time",
            )
        self._run = run
        self._parent = parent
        self._step = parent.next()
        self._code = code
        self._limit = limit
        self._next = 0
        self._left = len(code)
        self._results: list[Any] = [None] * len(code)
        self._errors: list[BaseException | None] = [None] * len(code)
        self._frontiers: list[tuple[str, ...]] = [parent.frontier] * len(code)
        self._done: asyncio.Future[None] = run.loop.create_future()

    async def results(self) -> list[Any]:
        """Run all branches and give their results."""
        if not self._code:
            return []
        for _ in range(min(self._limit, len(self._code))):
            self._start()
        self._run.blocked()
        try:
            await self._done
        except BaseException:
            if not self._done.done() or self._done.cancelled():
                self._run.unblocked()
            raise
        self._join()
        for error in self._errors:
            if error is not None:
                raise error
        return self._results

    def _join(self) -> None:
        """Let what follows come after all branches: after their last steps, or after the gather.

        Many names in each of many events would grow with the square of the branches.
        """
        last = dict.fromkeys(step for frontier in self._frontiers for step in frontier)
        if len(last) > _NAMED:
            self._run.joins[self._step] = self._run.seen(last)
            self._parent.frontier = (self._step,)
        else:
            self._parent.frontier = tuple(last)

    def _start(self) -> None:
        at = self._next
        self._next += 1
        branch = Branch(f"{self._step}.{at}.", self._parent.frontier)
        self._run.spawn(
            branch, _as_coroutine(self._code[at]), lambda task: self._ended(at, branch, task)
        )

    def _ended(self, at: int, branch: Branch, task: asyncio.Task[Any]) -> None:
        self._frontiers[at] = branch.frontier
        if task.cancelled():
            self._errors[at] = asyncio.CancelledError()
        elif (error := task.exception()) is not None:
            self._errors[at] = error
        else:
            self._results[at] = task.result()
        self._left -= 1
        if self._run.over:
            if not self._done.done():
                self._done.cancel()
        elif self._next < len(self._code):
            self._start()
        elif self._left == 0 and not self._done.done():
            self._run.unblocked()
            self._done.set_result(None)


def check(branches: Iterable[object]) -> None:
    """Raise UsageError for what is no function: a call, say, that was begun already."""
    for one in branches:
        if not callable(one):
            raise UsageError(
                f"gather was given a {type(one).__name__}",
                why="each branch is a function, so that what it does has a fixed place",
                fix="write lambda: in front of it: ctx.gather(lambda: ctx.call(…), …)",
            )


async def _as_coroutine(code: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401
    return await code()
