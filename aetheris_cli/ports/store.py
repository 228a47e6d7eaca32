"""What the engine and the operations need of a store. Times are milliseconds since 1970."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from aetheris_cli.domain.changes import Change, Delivery, NewJob
from aetheris_cli.domain.events import AnyEvent
from aetheris_cli.domain.keys import Claim, Held
from aetheris_cli.domain.records import InboxRow, JobRow, Question, WorkerRow
from aetheris_cli.domain.states import WorkerState
from aetheris_cli.domain.wishes import Receipt


class Refused(NamedTuple):
    """Changes of one job that were not written: fenced, or (stale) to be made anew."""

    stale: bool
    changes: list[Change]


class Claimed(NamedTuple):
    """A job that a worker has just got, and its history."""

    row: JobRow
    events: list[AnyEvent]


class Started(NamedTuple):
    """A job that was submitted to run at once."""

    row: JobRow
    created: bool
    events: list[AnyEvent]
    """Its history, if the worker owns it now; else empty."""


class Facts(NamedTuple):
    """A job's row and what only its history and its questions hold."""

    row: JobRow
    first: AnyEvent
    end: AnyEvent | None
    waits: list[Question]


class Filter(NamedTuple):
    """Which jobs to list, newest first."""

    statuses: tuple[str, ...] = ()
    agent: str = ""
    label: tuple[str, str] | None = None
    since: int = 0
    before: int = 2**62
    """Only jobs whose number is below this: the cursor."""
    limit: int = 50


class Store(Protocol):
    """Where jobs live. Every write is durable when its method returns."""

    url: str
    lock_dir: str
    """The id of the directory that holds the workers' locks; empty: there is none."""

    def commit(
        self,
        changes: Sequence[Change],
        now: int,
        reply: Callable[[list[Refused] | None, BaseException | None], None],
        *,
        here: bool = False,
    ) -> None:
        """Write the changes whose guards hold; `reply` is called, on any thread, when durable.

        With `here` the caller's own thread may be held for it, where that is a matter of a
        millisecond or two; then `reply` is called before this returns.
        """

    async def submit(self, new: NewJob, now: int) -> tuple[JobRow, bool]:
        """Create a job, or find the one with the same key."""

    async def start(self, new: NewJob, now: int, worker: str) -> Started:
        """Create a job that `worker` owns from the start, if its lease is still good."""

    async def claim(
        self, worker: str, limit: int, now: int, agents: frozenset[str], root: str = ""
    ) -> list[Claimed]:
        """Give ready jobs to a worker; with `root` only that job and its children."""

    async def deliver(self, wish: Delivery, now: int) -> Receipt:
        """Put a wish into a job's inbox; act on it when nobody owns the job."""

    async def hold_key(self, claim: Claim, now: int) -> Held:
        """Let a call hold a global key, unless another does; then note that it waits."""

    async def register(self, worker: WorkerRow) -> None:
        """Begin a worker's lease."""

    async def beat(self, worker: str, now: int, expires_at: int) -> bool:
        """Prolong a lease; False when it is gone."""

    async def end_worker(
        self, worker: str, status: WorkerState, now: int, *, released: bool = False, beat: int = 0
    ) -> list[JobRow]:
        """End a lease and queue its jobs again. `released`: the worker gives them back itself.

        `beat`: the last sign of life that the judgement rests on; a later one refutes it.
        """

    async def job(self, job_id: str) -> JobRow:
        """Give a job by its whole id. Raises NotFound."""

    async def find(self, text: str) -> JobRow:
        """Give a job by id, by unique beginning of one, or `@last`."""

    async def jobs(self, wanted: Filter) -> list[JobRow]:
        """List jobs, newest first."""

    async def facts(self, row: JobRow) -> Facts:
        """Give a job as it now stands, with its first and last event."""

    async def all_facts(self, wanted: Filter, *, whole: bool = True) -> list[Facts]:
        """List jobs with their facts, newest first; not `whole`: without large values."""

    async def events(self, no: int, after: int = 0, limit: int = 2**62) -> list[AnyEvent]:
        """Give events of a job, large payloads in place."""

    async def lines(self, no: int, after: int, limit: int) -> list[tuple[int, str, bytes]]:
        """Give the stored lines of a job: seq, body, hash."""

    async def inbox(self, no: int, after: int = 0) -> list[InboxRow]:
        """Give the wishes of a job's inbox after a number."""

    async def unread(self, worker: str) -> list[int]:
        """Give the numbers of a worker's jobs that have something unread in their inbox."""

    async def questions(self, no: int) -> list[Question]:
        """Give what one job waits for."""

    async def open_questions(self, kind: str = "") -> list[tuple[JobRow, Question]]:
        """Give what waits for a person, oldest first, of all jobs; with `kind` that kind alone."""

    async def worker(self, worker: str) -> WorkerRow | None:
        """Give one worker, the living or the dead."""

    async def workers(self, *, all_of_them: bool = False) -> list[WorkerRow]:
        """Give the workers that hold a lease, or also the former ones."""

    async def due(self, agents: frozenset[str]) -> int:
        """Give when the next job of these agents can be claimed; 0: there is none."""

    async def counts(self) -> dict[str, int]:
        """Count the jobs of each status."""

    def ring(self, worker: str = "") -> None:
        """Wake one worker, or all of them: something has changed."""

    async def version(self) -> Any:  # noqa: ANN401 - an opaque token
        """Give a token that changes when another process writes."""

    async def close(self) -> None:
        """End the threads and let go of the file."""
