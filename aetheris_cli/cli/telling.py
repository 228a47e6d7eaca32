"""How a job goes, told on stderr while it runs: a tree on a terminal, else event by event."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

from aetheris_cli.cli import trees
from aetheris_cli.cli.base import out
from aetheris_cli.cli.output import Format, cell

if TYPE_CHECKING:
    from aetheris_cli.app.session import Session

_FRAME_S: Final = 0.1


class Teller:
    """Tells of one job from event `after` on, beside whatever else goes on."""

    def __init__(self, session: "Session", job: str, *, after: int = 0) -> None:
        self._control = session.control
        self._job = job
        self._after = after
        self._silent = out.is_json or out.format is Format.IDS
        self._growing: trees.Growing | None = None
        self._task = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        if self._silent:
            return
        if not out.lively:
            await self._lines(self._control.events(self._job, self._after, follow=True))
            return
        with trees.growing() as self._growing:
            async for shape, steps in self._control.watch(self._job):
                self._growing.update(shape, steps)
                await asyncio.sleep(_FRAME_S)

    async def _lines(self, events: AsyncIterator[dict[str, Any]]) -> None:
        async for event in events:
            self._after = event["seq"]
            out.note(line_of(event))

    async def to_the_end(self) -> None:
        """Tell until the job has ended."""
        await self._task

    async def finish(self) -> None:
        """Tell what has happened up to now, and no more."""
        if self._growing is not None and not self._task.done():
            shape = await self._control.job(self._job)
            self._growing.update(shape, await self._control.steps(self._job))
        self._task.cancel()
        await asyncio.wait({self._task})
        if not self._silent and not out.lively:
            await self._lines(self._control.events(self._job, self._after))


def line_of(event: dict[str, Any]) -> str:
    """Write an event into one line."""
    data = event["data"]
    what = data.get("tool") or data.get("title") or data.get("name") or data.get("reason") or ""
    if isinstance(data.get("error"), dict):
        what = f"{what} {data['error'].get('message', '')}".strip()
    if event["type"] == "log.written":
        what = data["text"]
    elif event["type"] == "approval.decided":
        what = "approved" if data["approved"] else "rejected"
    elif event["type"] == "call.settled":
        what = data["verdict"]
    by = f" by {cell(event['actor'])}" if event["actor"] else ""
    step = event["step"] or ""
    seq, kind = event["seq"], event["type"]
    return f"{event['at'][11:23]} {seq:>4} {kind:<20} {step:<8} {cell(what)}{by}".rstrip()
