"""The store's methods, each once: an operation and the thread it runs on."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Self

import aetheris_cli
from aetheris_cli.domain.changes import Change, Delivery, NewJob
from aetheris_cli.domain.errors import NotFound, StoreUnavailable, UsageError
from aetheris_cli.domain.events import AnyEvent
from aetheris_cli.domain.keys import Claim, Held
from aetheris_cli.domain.records import InboxRow, JobRow, Question, WorkerRow
from aetheris_cli.domain.states import WorkerState
from aetheris_cli.domain.wishes import Receipt
from aetheris_cli.ports.store import Claimed, Facts, Filter, Refused, Started
from aetheris_cli.store import bells, commits, files, jobs, keys, reads, workers
from aetheris_cli.store.anchor import Anchor
from aetheris_cli.store.intake import Intake
from aetheris_cli.store.lockdir import lock_folder
from aetheris_cli.store.migrate import has_older_schema, migrate, missing
from aetheris_cli.store.requests import MakeOp
from aetheris_cli.store.submissions import Submission
from aetheris_cli.store.threads import Reader, Writer, ask, push
from aetheris_cli.store.turnstile import Turnstile

PATIENCE_S: Final = 15.0


class SqlStore:
    """A store in one SQLite file. Make it with `open_store`."""

    def __init__(self, path: Path, locks: Path, lock_dir: str, turnstile: Turnstile) -> None:
        self.url = f"sqlite:///{path}"
        self.path = path
        self.locks = locks
        self.lock_dir = lock_dir
        anchor = Anchor(path, locks)  # before anything is opened: what is replaced later shows
        self._reader = Reader(path, anchor)
        self._writer = Writer(path, turnstile, anchor)
        self._intake = Intake(self._write)
        self._to_ring: set[str] = set()

    @classmethod
    def open(cls, url: str, *, create: bool = False) -> Self:
        """Open the store at `url`, bringing its schema up to date.

        Raises UsageError, NotFound, and StoreUnavailable and its children.
        """
        path = files.store_path(url)
        if not create and not path.exists():
            raise missing(path)
        files.prepare(path, create=create)
        locks, lock_dir = lock_folder(path)
        turnstile = Turnstile(locks)
        if not create and has_older_schema(path):
            raise StoreUnavailable(
                f"the store at {path} has an older schema",
                why="to look at it must not change it, and an older program may be using it",
                fix="stop its workers, then `aetheris store migrate`",
            )
        migrate(path, locks, turnstile, create=create, made_by=aetheris_cli.__version__)
        return cls(path, locks, lock_dir, turnstile)

    @property
    def commit_count(self) -> int:
        """How many transactions this process has committed here."""
        return self._writer.commits

    # --- writing -----------------------------------------------------------------------------

    def commit(
        self,
        changes: Sequence[Change],
        now: int,
        reply: Callable[[list[Refused] | None, BaseException | None], None],
        *,
        here: bool = False,
    ) -> None:
        """Write the changes whose guards hold.

        `reply` is called on the writing thread, or, with `here`, on this one, if that is quick.
        """
        push(self._writer, lambda: commits.commit(changes, now), reply, here=here)

    async def _write(self, make: MakeOp[Any]) -> Any:  # noqa: ANN401
        return await ask(self._writer, make, patience_s=PATIENCE_S)

    async def _read(self, make: MakeOp[Any]) -> Any:  # noqa: ANN401
        return await ask(self._reader, make)

    async def submit(self, new: NewJob, now: int) -> tuple[JobRow, bool]:
        """Create a job, or find the one with the same key; wake the workers."""
        found = await self.start(new, now, "")
        return found.row, found.created

    async def start(self, new: NewJob, now: int, worker: str) -> Started:
        """Create a job that `worker` owns from the start, if its lease is still good."""
        found = await self._intake.submit(Submission(new, now, worker))
        if found.created and not found.events:
            self.ring()
        return found

    async def claim(
        self, worker: str, limit: int, now: int, agents: frozenset[str], root: str = ""
    ) -> list[Claimed]:
        """Give ready jobs to a worker; with `root` only that job and its children."""
        claimed: list[Claimed] = await self._write(
            lambda: jobs.claim(worker, limit, now, agents, root)
        )
        return claimed

    async def deliver(self, wish: Delivery, now: int) -> Receipt:
        """Put a wish into a job's inbox, and wake whoever acts on it."""
        receipt: Receipt = await self._write(lambda: jobs.deliver(wish, now))
        if receipt.new:
            self.ring(receipt.owner)
        return receipt

    async def hold_key(self, claim: Claim, now: int) -> Held:
        """Let a call hold a global key, unless another does; then note that it waits."""
        held: Held = await self._write(lambda: keys.hold(claim, now))
        return held

    async def register(self, worker: WorkerRow) -> None:
        """Begin a worker's lease."""
        await self._write(lambda: workers.register(worker))

    async def beat(self, worker: str, now: int, expires_at: int) -> bool:
        """Prolong a lease; False when it is gone."""
        return bool(await self._write(lambda: workers.beat(worker, now, expires_at)))

    async def end_worker(
        self, worker: str, status: WorkerState, now: int, *, released: bool = False, beat: int = 0
    ) -> list[JobRow]:
        """End a lease and queue its jobs again."""
        rows: list[JobRow] = await self._write(
            lambda: workers.end(worker, status, now, released=released, beat=beat)
        )
        if rows:
            self.ring()
        return rows

    # --- reading -----------------------------------------------------------------------------

    async def job(self, job_id: str) -> JobRow:
        """Give a job by its whole id. Raises NotFound."""
        row: JobRow = await self._read(lambda: jobs.by_id(job_id))
        return row

    async def find(self, text: str) -> JobRow:
        """Give a job by id, unique beginning, or `@last`. Raises NotFound and UsageError."""
        if "job_".startswith(text):
            raise UsageError(
                f"{text!r} names no job", why="every id begins so", fix="give more characters"
            )
        rows: list[JobRow] = await self._read(lambda: reads.find(text))
        if not rows:
            raise NotFound(
                f"there is no job {text[:80]}",
                why="no id in this store is or begins so",
                fix="`aetheris jobs` lists what there is",
            )
        if len(rows) > 1 and rows[0].id != text:
            raise UsageError(
                f"{text[:80]} is the beginning of {len(rows)} ids"
                if len(rows) <= reads.MANY
                else f"{text[:80]} is the beginning of more than {reads.MANY} ids",
                why="it must name one job",
                fix="give more characters: " + ", ".join(row.id for row in rows[:3]),
            )
        return rows[0]

    async def jobs(self, wanted: Filter) -> list[JobRow]:
        """List jobs, newest first."""
        rows: list[JobRow] = await self._read(lambda: reads.listed(wanted))
        return rows

    async def facts(self, row: JobRow) -> Facts:
        """Give a job as it now stands, with its first and last event."""
        found: Facts = await self._read(lambda: reads.facts(row))
        return found

    async def all_facts(self, wanted: Filter, *, whole: bool = True) -> list[Facts]:
        """List jobs with their facts, newest first; not `whole`: without large values."""
        found: list[Facts] = await self._read(lambda: reads.all_facts(wanted, whole=whole))
        return found

    async def events(self, no: int, after: int = 0, limit: int = 2**62) -> list[AnyEvent]:
        """Give events of a job, large payloads in place."""
        found: list[AnyEvent] = await self._read(lambda: jobs.events_after(no, after, limit))
        return found

    async def lines(self, no: int, after: int, limit: int) -> list[tuple[int, str, bytes]]:
        """Give the stored lines of a job."""
        found: list[tuple[int, str, bytes]] = await self._read(
            lambda: reads.lines(no, after, limit)
        )
        return found

    async def inbox(self, no: int, after: int = 0) -> list[InboxRow]:
        """Give the wishes of a job's inbox after a number."""
        found: list[InboxRow] = await self._read(lambda: reads.inbox(no, after))
        return found

    async def unread(self, worker: str) -> list[int]:
        """Give the worker's jobs that have something unread."""
        found: list[int] = await self._read(lambda: reads.unread(worker))
        return found

    async def questions(self, no: int) -> list[Question]:
        """Give what one job waits for."""
        found: list[Question] = await self._read(lambda: reads.questions(no))
        return found

    async def open_questions(self, kind: str = "") -> list[tuple[JobRow, Question]]:
        """Give what waits for a person, oldest first, of all jobs; with `kind` that kind alone."""
        found: list[tuple[JobRow, Question]] = await self._read(lambda: reads.open_questions(kind))
        return found

    async def worker(self, worker: str) -> WorkerRow | None:
        """Give one worker, the living or the dead."""
        row: WorkerRow | None = await self._read(lambda: workers.named(worker))
        return row

    async def workers(self, *, all_of_them: bool = False) -> list[WorkerRow]:
        """Give the workers that hold a lease, or also the former ones."""
        make = (lambda: workers.listed(200)) if all_of_them else workers.alive
        found: list[WorkerRow] = await self._read(make)
        return found

    async def due(self, agents: frozenset[str]) -> int:
        """Give when the next job of these agents can be claimed; 0: there is none."""
        return int(await self._read(lambda: jobs.due(agents)))

    async def counts(self) -> dict[str, int]:
        """Count the jobs of each status."""
        found: dict[str, int] = await self._read(reads.counts)
        return found

    async def version(self) -> int:
        """Give a number that changes when another connection writes."""
        return int(await self._read(reads.version))

    # --- wake-ups and the end ----------------------------------------------------------------

    def ring(self, worker: str = "") -> None:
        """Wake one worker, or all of them: something has changed.

        The bells ring at the end of this turn of the loop, once for all that it acknowledges.
        """
        if not self._to_ring:
            asyncio.get_running_loop().call_soon(self._ring_now)
        self._to_ring.add(worker)

    def _ring_now(self) -> None:
        names, self._to_ring = self._to_ring, set()
        bells.ring(self.locks, names)

    async def close(self) -> None:
        """End the threads and let go of the file."""
        self._ring_now()
        self._writer.put(None)
        self._reader.put(None)
        self._writer.join()
        self._reader.join()
