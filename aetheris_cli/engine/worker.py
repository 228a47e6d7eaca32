"""The worker: one lease, many runs. It claims jobs, keeps its lease, and looks after the others.

The lease belongs to the worker, not to each job: one heartbeat keeps them all. A worker whose
lock is free is dead, and its jobs are queued again within milliseconds.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple

from aetheris_cli.domain import ids
from aetheris_cli.domain.changes import NewJob
from aetheris_cli.domain.errors import (
    AetherisError,
    StoreBusy,
    StoreDamaged,
    StoreFailed,
    StoreFull,
)
from aetheris_cli.domain.events import JobSubmitted
from aetheris_cli.domain.records import JobRow, WorkerRow
from aetheris_cli.domain.states import SILENT, WorkerState
from aetheris_cli.engine import forks
from aetheris_cli.engine.committer import Committer
from aetheris_cli.engine.deadlines import Deadlines
from aetheris_cli.engine.perform import perform
from aetheris_cli.engine.run import Run
from aetheris_cli.engine.threads import Threads
from aetheris_cli.engine.uncaught import caught
from aetheris_cli.ports import failpoints
from aetheris_cli.ports.clock import Clock
from aetheris_cli.ports.code import Registry
from aetheris_cli.ports.presence import Presence
from aetheris_cli.ports.store import Claimed, Store

_POLL_S: Final = 0.1
_PEERS_POLLS: Final = 10
_FOREIGN_S: Final = 0.25
_AGAIN_S: Final = 0.25
_ABROAD_MS: Final = 600_000
"""So long a worker of another host, whose clock is its own, may be silent."""


class Settings(NamedTuple):
    """How a worker behaves."""

    concurrency: int = 1_000
    lease_ms: int = 10_000
    grace_s: float = 10.0
    root: str = ""
    """Only this job and its children; empty: any job."""
    agents: frozenset[str] | None = None
    """Only these agents; None: all that the registry has."""


class LeaseLost(AetherisError):
    """The worker could not keep its lease; others have its jobs now."""

    code = "lease_lost"
    retryable = True


class Worker:
    """One worker in this process. `serve` runs it until it is stopped."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        clock: Clock,
        presence: Callable[[str], Presence],
        settings: Settings,
    ) -> None:
        self.store = store
        self.registry = registry
        self.clock = clock
        self.settings = settings
        self.threads = Threads()
        self.deadlines = Deadlines(asyncio.get_running_loop())
        self.worker_id = ids.make("wrk", clock.now_ms(), clock.chance(ids.CHANCE_BYTES))
        self.committer = Committer(store, clock, self.failed, self._troubled)
        self.runs: dict[int, Run] = {}
        self.sending = 0
        self.on_over: Callable[[str], None] | None = None
        self.on_trouble: Callable[[str], None] | None = None
        """Told why nothing can be written for the moment, and (empty) when that is over."""
        self._trouble = ""
        self._loop = asyncio.get_running_loop()
        self._presence = presence(self.worker_id)
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._stopping = False
        self._failure: BaseException | None = None
        self._peers: dict[str, WorkerRow] = {}
        self._death = asyncio.Event()
        self._dead: set[str] = set()
        """Peers whose lock has become free."""
        self._ready = False
        self._claiming = False
        """Whether jobs may be its own by now that it does not know of yet."""
        self._starting = 0
        self._left = False
        self._rings = False
        """Somebody has rung since the last look at the queue."""
        self._rung_lately = False
        """Somebody has rung since the last look at the peers."""
        self._timer: asyncio.TimerHandle | None = None
        self._expires_at = 0
        self._patient_until = 0
        """On the clock since boot: until then nobody is reaped for a lease that is over."""
        self._background: set[asyncio.Task[None]] = set()

    # --- what a run needs of its host --------------------------------------------------------

    def run_over(self, run: Run) -> None:
        """Forget a run and make room for another."""
        full = len(self.runs) >= self.settings.concurrency
        if self.runs.get(run.row.no) is run:
            del self.runs[run.row.no]
        if self.on_over is not None:
            self.on_over(run.job)
        if full or self._stopping:
            # With room to spare, all that was ready has been claimed already.
            self._wake.set()

    def _troubled(self, trouble: str) -> None:
        if trouble == self._trouble:
            return
        self._trouble = trouble
        if self.on_trouble is not None:
            self.on_trouble(trouble)
        if not trouble:
            self._wake.set()

    def _wrote(self) -> None:
        """Take note that the store could be written."""
        if not self.committer.troubled:
            self._troubled("")

    def child_spawned(self) -> None:
        """Look for jobs to claim."""
        self._rings = True
        self._wake.set()

    def failed(self, error: BaseException) -> None:
        """Stop at once: this error is not a job's."""
        if self._failure is None:
            self._failure = error
        self._wake.set()

    def background(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that nobody waits for; an error in it stops the worker."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background_done)

    def _background_done(self, task: "asyncio.Task[None]") -> None:
        self._background.discard(task)
        self._helper_done(task)

    async def owner_gone(self, worker: str) -> bool:
        """Whether it is proven that nothing of this worker runs any more."""
        if worker == self.worker_id:
            return False
        row = await self.store.worker(worker)
        return row is not None and (row.status in SILENT or self._presence.is_gone(row))

    async def children_gone(self, worker: str) -> bool:
        """Whether it is proven that no process survives that its tools have begun."""
        row = await self.store.worker(worker)
        return row is not None and await asyncio.to_thread(self._presence.children_gone, row)

    # --- its life ----------------------------------------------------------------------------

    async def begin(self) -> None:
        """Take the lease, and take over from workers that have died."""
        now, boot = self.clock.now_ms(), self.clock.boot_ms()
        presence = self._presence
        await self.store.register(
            WorkerRow(
                id=self.worker_id, host=presence.host, boot=presence.boot, pid=os.getpid(),
                lock_dir=presence.lock_dir, space=presence.space, started_at=now, beat_at=now,
                expires_at=boot + self.settings.lease_ms, status=WorkerState.ALIVE,
                concurrency=self.settings.concurrency,
                agents=",".join(sorted(self.settings.agents or self.registry.agents())),
            )
        )  # fmt: skip
        self._expires_at = boot + self.settings.lease_ms
        await self._meet()
        await self._reap()
        await self._bury()
        self.store.ring()  # so that the others watch this one from now on

    async def serve(self) -> None:
        """Claim and run jobs until `stop`. Raises what made it impossible to go on."""
        loop = asyncio.get_running_loop()
        forks.guard(loop)
        with caught(loop, self.failed):
            await self._serve(loop)

    async def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.add_reader(self._presence.fileno(), self._rung)
        helpers = [loop.create_task(self._beat()), loop.create_task(self._watch())]
        for helper in helpers:
            helper.add_done_callback(self._helper_done)
        self._ready = True
        try:
            while not self._stopping and self._failure is None:
                self._wake.clear()
                self._claiming = True
                found = await self._patiently(self._claim())
                self._claiming = False
                if not found:
                    await self._wake.wait()
            if self._failure is None:
                await self._drain()
        finally:
            loop.remove_reader(self._presence.fileno())
            for helper in helpers:
                helper.cancel()
            cut_off = any(run.in_flight for run in self.runs.values())
            for run in list(self.runs.values()):
                run.discard()
            await self._leave(cut_off=cut_off)
        if isinstance(self._failure, StoreDamaged):
            raise StoreFailed(
                f"the store failed under the worker: {self._failure.message}",
                why=self._failure.why,
                fix="check the disk; `aetheris store check` says what is damaged",
            ) from self._failure
        if self._failure is not None:
            raise self._failure

    async def _leave(self, *, cut_off: bool) -> None:
        self._left = True
        for peer in self._peers.values():
            self._presence.unwatch(peer, self._died)
        if not isinstance(self._failure, StoreFailed):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.settings.grace_s):
                    await self._finish_writing()
        self.deadlines.close()
        # Others take "stopped" as the proof that no tool of this worker sends anything more.
        quiet = not (cut_off or self.sending or self.threads.busy)
        with contextlib.suppress(AetherisError):
            await self.store.end_worker(
                self.worker_id,
                WorkerState.STOPPED if quiet else WorkerState.LOST,
                self.clock.now_ms(),
                released=self._failure is None,
            )
        self._presence.close(quiet=quiet)

    async def _finish_writing(self) -> None:
        """Keep what was received: results that are queued, and late answers as evidence."""
        if not isinstance(self._failure, LeaseLost):
            await self.committer.idle()
        if self._background:
            await asyncio.wait(self._background)

    def _helper_done(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failed(error)

    def stop(self) -> None:
        """Claim nothing more and give jobs back as soon as nothing is in flight."""
        self._stopping = True
        self._wake.set()

    async def _drain(self) -> None:
        for run in list(self.runs.values()):
            run.stop()
        try:
            async with asyncio.timeout(self.settings.grace_s):
                while self.runs and self._failure is None:
                    self._wake.clear()
                    await self._wake.wait()
        except TimeoutError:
            pass  # what is still in flight is found without a result by the next owner

    # --- jobs of this very process ------------------------------------------------------------

    async def submit(self, new: NewJob, now: int) -> tuple[JobRow, bool]:
        """Keep a job, and run it here at once when there is room and it need not wait."""
        if not self._may_start(new.event):
            return await self.store.submit(new, now)
        # A caller that goes away must not leave a job behind that is owned and does not run.
        return await asyncio.shield(asyncio.create_task(self._submit(new, now)))

    async def _submit(self, new: NewJob, now: int) -> tuple[JobRow, bool]:
        self._starting += 1
        try:
            found = await self.store.start(new, now, self.worker_id)
        finally:
            self._starting -= 1
        if found.events and not self._left:
            run = self.start(Claimed(found.row, found.events))
            if self._stopping:
                run.stop()
        return found.row, found.created

    def _may_start(self, job: JobSubmitted) -> bool:
        settings = self.settings
        return (
            self._ready
            and not self._stopping
            and self._failure is None
            and not self.committer.troubled
            and len(self.runs) + self._starting < settings.concurrency
            and not job.run_at
            and not settings.root
            and job.agent in (settings.agents or self.registry.agents())
        )

    # --- claiming ----------------------------------------------------------------------------

    async def _claim(self) -> bool:
        """Claim what there is room for. False: there was nothing, so wait."""
        free = self.settings.concurrency - len(self.runs)
        if free <= 0 or self.committer.troubled:
            return False
        now = self.clock.now_ms()
        rung, self._rings = self._rings, False
        agents = self.settings.agents or frozenset(self.registry.agents())
        if not rung:
            due = await self.store.due(agents)
            if due == 0 or due > now:
                if due:
                    self._wake_after(min((due - now) / 1_000, 3_600.0))
                return False
        claimed = await self.store.claim(self.worker_id, free, now, agents, self.settings.root)
        self._wrote()
        for one in claimed:
            self.start(one)
        if not claimed and not rung:
            # Another worker was faster, or it is outside of our root, and may hide a later time.
            self._wake_after(_FOREIGN_S)
        return bool(claimed) or rung

    async def _patiently(self, work: Coroutine[Any, Any, bool]) -> bool:
        """Do what can be done later as well; a store that is busy or full is asked again."""
        try:
            return await work
        except (StoreBusy, StoreFull) as error:
            self._troubled(str(error))
            self._wake_after(_AGAIN_S)
            return False

    def _wake_after(self, seconds: float) -> None:
        """Look again at that time; one timer at most is pending."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._wake.set)

    def start(self, claimed: Claimed) -> Run:
        """Run a job that this worker owns."""
        failpoints.hit("claim.after_commit")
        row = claimed.row
        run = Run(self, self.registry.agent(row.agent), row, claimed.events, perform)
        self.runs[row.no] = run
        run.start()
        return run

    @property
    def idle(self) -> bool:
        """Whether it runs nothing at the moment."""
        return self._ready and not self.runs and not self._claiming

    # --- staying awake -----------------------------------------------------------------------

    def _rung(self) -> None:
        self._presence.silence()
        self._rings = self._rung_lately = True
        self._wake.set()
        if self.runs:
            self.background(self._look())

    async def _look(self) -> None:
        """See what others have done: wishes in inboxes, and new jobs."""
        for no in await self.store.unread(self.worker_id):
            run = self.runs.get(no)
            if run is not None:
                run.journal.rung()
        self._wake.set()

    async def _watch(self) -> None:
        """Watch the other workers, and poll for what no bell has announced."""
        seen = await self.store.version()
        polls = 0
        while True:
            try:
                async with asyncio.timeout(_POLL_S):
                    await self._death.wait()
            except TimeoutError:
                polls += 1
                now = await self.store.version()
                if now != seen:
                    seen = now
                    await self._look()
                if self._rung_lately or polls % _PEERS_POLLS == 0:
                    self._rung_lately = False
                    await self._meet()
            self._death.clear()
            await self._patiently(self._reap())

    async def _meet(self) -> None:
        """Get to know the other workers, and hear of their deaths from now on."""
        found = {row.id: row for row in await self.store.workers() if row.id != self.worker_id}
        for name, row in self._peers.items():
            if name not in found:
                self._presence.unwatch(row, self._died)
        for name, row in found.items():
            if name not in self._peers:
                self._presence.watch(row, self._died)
        self._peers = found

    def _died(self, worker: str) -> None:
        """Hear, on a thread of its own, that a peer's process has ended."""

        def heard() -> None:
            self._dead.add(worker)
            self._death.set()

        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(heard)

    async def _reap(self) -> bool:
        """Queue the jobs of workers that are proven dead or have let their lease run out."""
        boot = self.clock.boot_ms()
        if boot > self._expires_at:
            # The host has slept, or this process. The others have, too: they get their time.
            self._patient_until = boot + self.settings.lease_ms
        for peer in list(self._peers.values()):
            gone = peer.id in self._dead or self._presence.is_gone(peer)
            if gone or (boot > self._patient_until and self._is_over(peer, boot)):
                state = WorkerState.DEAD if gone else WorkerState.LOST
                beat = 0 if gone else peer.beat_at
                await self.store.end_worker(peer.id, state, self.clock.now_ms(), beat=beat)
                self._peers.pop(peer.id, None)
                self._dead.discard(peer.id)
                if gone:
                    self._presence.forget(peer.id)
                self._wake.set()
        return True

    def _is_over(self, peer: WorkerRow, boot: int) -> bool:
        """Whether a peer has let its lease run out, as far as its row was read last."""
        if peer.boot == self._presence.boot:
            return peer.expires_at < boot
        return peer.beat_at + _ABROAD_MS < self.clock.now_ms()

    async def _bury(self) -> None:
        """Note of workers that were lost that their process has ended by now."""
        for row in await self.store.workers(all_of_them=True):
            if row.status == WorkerState.LOST and self._presence.is_gone(row):
                await self.store.end_worker(row.id, WorkerState.DEAD, self.clock.now_ms())
                self._presence.forget(row.id)

    async def _beat(self) -> None:
        """Keep the lease; stop everything when that is not possible."""
        every = self.settings.lease_ms / 3_000
        while True:
            await asyncio.sleep(every)
            try:
                kept = await self.store.beat(
                    self.worker_id,
                    self.clock.now_ms(),
                    self.clock.boot_ms() + self.settings.lease_ms,
                )
            except (StoreBusy, StoreFull):
                continue  # the lease may still be kept in time
            self._expires_at = self.clock.boot_ms() + self.settings.lease_ms
            self._wrote()
            if not kept:
                raise LeaseLost(
                    "this worker has lost its lease",
                    why="it did not renew it in time: its process was stopped, or its loop blocked",
                    fix="its jobs go on elsewhere; `aetheris worker` starts a new one",
                )
