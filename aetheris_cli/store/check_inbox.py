"""The inbox of one job held against the events that its wishes have become."""

from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from aetheris_cli.domain import events as ev
from aetheris_cli.domain import origins, wishes
from aetheris_cli.domain.changes import Delivery
from aetheris_cli.domain.events import AnyEvent
from aetheris_cli.store.findings import Finding, Findings, differs, same, shown


class _Kept(NamedTuple):
    """One row of the inbox."""

    n: int
    kind: str
    step: str
    actor: str
    at: int
    body: str
    dedupe: str


class Inbox:
    """The wishes of one job, taken away one by one as the events that they became are met."""

    def __init__(self, job: str, rows: Iterable[tuple[Any, ...]]) -> None:
        self._job = job
        self._queues: dict[tuple[str, str], deque[_Kept]] = {}
        self._numbers: list[int] = []
        self._done = 0
        self._doubts: set[str] = set()
        """What tells settlements of one call apart: when each question about it was asked."""
        self._latest = 0
        self._cancelled_at = 0
        for row in rows:
            self._keep(_Kept(*row))

    def _keep(self, row: _Kept) -> None:
        self._numbers.append(row.n)
        if not isinstance(row.n, int):
            row = row._replace(n=0)  # reported by `counts`
        step = "" if row.kind == "key" else row.step
        self._queues.setdefault((row.kind, step), deque()).append(row)

    def counts(self, row: dict[str, Any]) -> Findings:
        """Check the numbers of the wishes, and what the job's row says of them."""
        for expected, n in enumerate(self._numbers, start=1):
            if not same(n, expected):
                yield differs(self._job, f"the number of wish {expected} in the inbox", n, expected)
                break
        last, done = self._last, row["inbox_done"]
        if not same(row["inbox_seq"], last):
            yield differs(self._job, "jobs.inbox_seq", row["inbox_seq"], last)
        if not isinstance(done, int) or not 0 <= done <= last:
            yield differs(self._job, "jobs.inbox_done", done, f"0 to {last}")
        self._done = done if isinstance(done, int) else last

    @property
    def _last(self) -> int:
        return max((one for one in self._numbers if isinstance(one, int)), default=0)

    def meet(self, event: AnyEvent, *, complete: bool) -> Findings:
        """Hold an event against the wish that it came from, if it came from one.

        `complete`: its values are in place, so that it says all that the wish does.
        """
        if isinstance(event, ev.CallInDoubt) or (
            isinstance(event, ev.CallEvidence) and event.contradicts
        ):
            self._doubts.add(f"settle:{event.step}:{event.at}")
        wish = origins.origin(self._job, event)
        if wish is None:
            return
        row = self._find(wish)
        if not complete:
            return
        if row is None:
            what = f"event {event.seq} came from a {wish.kind} that the inbox lacks"
            expected = shown(f"{wish.actor} {wish.step} {wish.body}")
            yield Finding(self._job, what, "nothing", expected)
            return
        yield from self._compare(row, wish, event.seq)

    def _find(self, wish: Delivery) -> _Kept | None:
        """Take the row that a wish must be: the first that is the same, else the first."""
        queue = self._queues.get((wish.kind, wish.step))
        if not queue:
            return None
        alike = (row for row in queue if (row.actor, row.body) == (wish.actor, wish.body))
        row = next(alike, None if wish.kind == "pause" else queue[0])
        if row is not None:
            queue.remove(row)
        return row

    def _compare(self, row: _Kept, wish: Delivery, seq: int) -> Findings:
        place = f"inbox {row.n} ({row.kind}, event {seq})"
        if row.n > self._done:
            yield Finding(self._job, f"{place} was taken, and counts as unread", str(self._done))
        if wish.kind == "cancel":
            self._cancelled_at = row.n
        if wish.kind in origins.IN_ORDER:
            if row.n < self._latest:
                yield differs(self._job, f"{place}: the order", row.n, f"above {self._latest}")
            self._latest = row.n
        if wish.kind != "resume" and not same(row.actor, wish.actor):
            yield differs(self._job, f"{place}: the actor", row.actor, wish.actor)
        if not same(row.body, wish.body):
            yield differs(self._job, f"{place}: the body", row.body, wish.body)
        yield from self._compare_key(row, wish, place)

    def _compare_key(self, row: _Kept, wish: Delivery, place: str) -> Findings:
        """Check what keeps a wish from being taken twice."""
        wanted = self._doubts if wish.kind == "settle" else {wish.dedupe}
        if row.dedupe not in wanted:
            expected = " or ".join(sorted(wanted))
            yield differs(self._job, f"{place}: dedupe", row.dedupe, expected)

    def unread(self, kind: str, step: str) -> bool:
        """Whether such a wish waits to be taken."""
        return any(row.n > self._done for row in self._queues.get((kind, step), ()))

    def rest(self, *, owned: bool) -> Findings:
        """Judge what no event came from. Only a job's owner has anything left to read."""
        if not owned and self._done < self._last:
            yield differs(self._job, "jobs.inbox_done", self._done, self._last)
        for queue in self._queues.values():
            for row in queue:
                yield from self._left(row)

    def _left(self, row: _Kept) -> Findings:
        place = f"inbox {row.n} ({row.kind})"
        if row.kind in origins.FAINT:
            # A wish about a key has a step and comes from no person, the others vice versa.
            rest = row.actor if row.kind == "key" else row.step
            if (row.body, row.dedupe, rest) != ("{}", "", ""):
                stored = f"{row.actor} {row.step} {row.body} {row.dedupe}"
                yield differs(self._job, place, stored, "an empty wish")
        elif row.kind not in origins.TRACED:
            yield Finding(self._job, f"{place} is no kind of wish", str(row.kind))
        elif row.n > self._done:
            if not wishes.is_readable(row.body):
                yield Finding(self._job, f"{place} cannot be read", shown(row.body))
        elif not self._dropped(row):
            stored = shown(f"{row.actor} {row.step} {row.body}")
            yield Finding(self._job, f"{place} was taken, and no event came from it", stored)

    def _dropped(self, row: _Kept) -> bool:
        """Whether it came to a job that a wish before it had cancelled."""
        return 0 < self._cancelled_at < row.n and row.kind not in {"settle", "evidence"}
