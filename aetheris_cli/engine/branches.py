"""Branches of an agent's code, and the outcomes they wait for.

A branch is a place in the program that counts its own commands, so a command's step id is the
same at every run: `2`, or `3.0.1` for the first command of branch 0 of the gather at 3. The
frontier of a branch holds the steps whose outcome it saw last: what a new command comes after.
"""

import asyncio
from collections.abc import Generator
from typing import Any, Final, Protocol


class Branch:
    """One strand of the agent's code."""

    __slots__ = ("blocked", "count", "frontier", "logs", "path")

    def __init__(self, path: str = "", frontier: tuple[str, ...] = ()) -> None:
        self.path = path
        self.frontier = frontier
        self.count = 0
        self.logs = 0

    def next(self) -> str:
        """Give the id of the branch's next command."""
        self.count += 1
        return f"{self.path}{self.count}"

    def saw(self, step: str, after: tuple[str, ...]) -> None:
        """Move the frontier behind `step`, which came after `after`."""
        if self.frontier == after:
            self.frontier = (step,)
        else:
            self.frontier = (*(one for one in self.frontier if one not in after), step)


NOWHERE: Final = Branch("nowhere.")
"""Where code stands whose run is over and that does not end: its commands never return."""


class Never:
    """What a command gives to code whose run is over: awaiting it never ends."""

    def __await__(self) -> Generator[Any, None, Any]:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            yield  # the process ends, and Python tells the code to; now it stops asking
            raise
        task = asyncio.current_task(loop)
        if task is not None:
            # Else a loop that closes would cancel it, be ignored, and wait for it for ever.
            asyncio.tasks._unregister_task(task)  # noqa: SLF001 - documented for tasks of one's own
            _left_behind.add(task)
        yield from loop.create_future()


_left_behind: Final[set[asyncio.Task[Any]]] = set()
"""Tasks whose code does not end. Dropped, they would be told to once more, and go on."""


class Floor(Protocol):
    """What counts the branches that run: the run, as a pending outcome sees it."""

    loop: asyncio.AbstractEventLoop

    def here(self) -> Branch:
        """Give the branch whose code is running now."""

    def blocked(self) -> None:
        """Count one branch less that runs."""

    def unblocked(self) -> None:
        """Count one branch more that runs."""


class Pending:
    """The outcome of a command. Await it in the branch that issued it, or in a later one."""

    __slots__ = ("_error", "_floor", "_value", "_waiters", "after", "done", "step")

    def __init__(self, floor: Floor, step: str, after: tuple[str, ...]) -> None:
        self._floor = floor
        self._waiters: list[asyncio.Future[None]] = []
        self._value: Any = None
        self._error: BaseException | None = None
        self.step = step
        self.after = after
        self.done = False

    def resolve(self, value: Any, error: BaseException | None) -> None:  # noqa: ANN401
        """Give the outcome and let everybody go on who waits for it."""
        if self.done:
            return
        self.done, self._value, self._error = True, value, error
        for waiter in self._waiters:
            if not waiter.done():
                self._floor.unblocked()
                waiter.set_result(None)

    def __await__(self) -> Generator[Any, None, Any]:
        return self.wait(self._floor.here())

    def wait(self, branch: Branch) -> Generator[Any, None, Any]:
        """Wait in the name of `branch`."""
        if not self.done:
            waiter = self._floor.loop.create_future()
            self._waiters.append(waiter)
            self._floor.blocked()
            try:
                yield from waiter
            except BaseException:
                if not self.done:
                    self._waiters.remove(waiter)
                    self._floor.unblocked()
                raise
        branch.saw(self.step, self.after)
        if self._error is not None:
            raise self._error
        return self._value
