"""One job while this worker owns it: the agent's code, its history in memory, and its end.

The run counts the branches whose code is running. When none is, it is quiescent, and then
exactly one of these follows: a recorded outcome is delivered, the code has diverged, a call in
flight is waited for, or the job parks.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Protocol, TypeAlias

from msgspec import Raw

from aetheris_cli.domain import changes, codec, wishes
from aetheris_cli.domain import events as ev
from aetheris_cli.domain.changes import Change, Delivery, Tip
from aetheris_cli.domain.errors import AetherisError, InvalidPayload, UsageError
from aetheris_cli.domain.events import AnyEvent, Error
from aetheris_cli.domain.history import Step, fold
from aetheris_cli.domain.records import InboxRow, JobRow, Question
from aetheris_cli.domain.states import JobState, ParkedReason
from aetheris_cli.engine.branches import Branch, Pending
from aetheris_cli.engine.committer import Committer
from aetheris_cli.engine.outcome import outcome
from aetheris_cli.engine.script import Divergence, Script, compare
from aetheris_cli.engine.threads import Threads
from aetheris_cli.ports import failpoints
from aetheris_cli.ports.clock import Clock
from aetheris_cli.ports.code import Agent, Registry
from aetheris_cli.ports.store import Store

MAX_DEATHS: Final = 5
SHORT_WAIT_MS: Final = 1_000
"""A job whose next timer is nearer than this keeps its worker."""
_WORDS: Final = 2_000


class Stopped(BaseException):
    """Ends the agent's code when its run is over for this worker.

    It is no Exception, so that `except Exception` in an agent does not swallow it.
    """


class Host(Protocol):
    """What a run needs of the worker that it belongs to."""

    worker_id: str
    store: Store
    clock: Clock
    committer: Committer
    registry: Registry
    threads: Threads

    async def owner_gone(self, worker: str) -> bool:
        """Whether it is proven that this worker's process has ended."""

    def run_over(self, run: "Run") -> None:
        """Take note that the run no longer needs the worker."""

    def failed(self, error: BaseException) -> None:
        """Stop the worker: this error is not a job's."""

    def child_spawned(self) -> None:
        """Take note that there may be a new job to claim."""


class Wait:
    """Something open that is no call in flight: its reason, and when it ends by itself."""

    __slots__ = ("handle", "name", "pending", "reason", "step", "until", "wake")

    def __init__(
        self, step: str, reason: ParkedReason, until: int, wake: Callable[[], None]
    ) -> None:
        self.step = step
        self.reason = reason
        self.until = until
        self.wake = wake
        """Called at `until`."""
        self.handle: asyncio.TimerHandle | None = None
        self.name = ""
        self.pending: Pending | None = None


Perform: TypeAlias = Callable[["Run"], Coroutine[Any, Any, Any]]
"""Calls the agent's code in the name of a run; given from outside, as it stands on the run."""


class Run:
    """The engine's side of one job. The agent sees it through a Context."""

    def __init__(
        self, host: Host, agent: Agent, row: JobRow, events: Sequence[AnyEvent], perform: Perform
    ) -> None:
        self.host = host
        self._perform = perform
        self.agent = agent
        self.row = row
        self.job = row.id
        self.loop = asyncio.get_running_loop()
        self.history = fold(events)
        self.script = Script(self.history)
        self.tip = Tip(row.no, row.id, row.worker, row.epoch, row.seq, row.head, row.inbox_done)
        self.tasks: dict[asyncio.Task[Any], Branch] = {}
        self.pendings: dict[str, Pending] = {}
        self.in_flight: dict[str, asyncio.Task[Any]] = {}
        self.waits: dict[str, Wait] = {}
        self.late: set[str] = set()
        """Steps whose tool still runs in a thread that was given up."""
        self.settled: dict[str, Callable[[Step], None]] = {}
        """Calls in doubt, and what to do when somebody settles them."""
        self._awaited: set[asyncio.Future[None]] = set()
        """Those who wait for the disk: after a lost lease nothing will come."""
        self.running = 0
        self.over = False
        self.stopping = False
        self._live = False
        self._held: list[Callable[[], None]] = []
        self._stalled: list[Change] | None = None
        self._reading = False
        self._read_again = False
        """Something may have arrived after the read under way had begun."""
        self._end: tuple[Any, BaseException | None] | None = None
        self._ending = False
        self._checking = False
        self._paused_by: InboxRow | None = None
        self._cancelled_by: InboxRow | None = None
        self._parking: Change | None = None
        """A park because of open waits: anything that arrives overtakes it."""
        self.on_over: Callable[[], None] | None = None

    # --- the start ---------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to run the agent's code."""
        if self.row.inbox_seq > self.row.inbox_done:
            self.read_inbox()
        if self.history.deaths >= MAX_DEATHS:
            self._park(
                ParkedReason.CRASH_LOOP,
                title=f"its worker died {self.history.deaths} times without progress",
            )
            return
        self._maybe_live()
        self.spawn(Branch(), self._perform(self), self._main_done)

    def spawn(
        self,
        branch: Branch,
        code: Coroutine[Any, Any, Any],
        done: Callable[[asyncio.Task[Any]], None],
    ) -> asyncio.Task[Any]:
        """Run agent code as a branch of its own."""
        task = self.loop.create_task(code)
        self.tasks[task] = branch
        self.running += 1

        def finished(task: asyncio.Task[Any]) -> None:
            del self.tasks[task]
            done(task)
            self.blocked()

        task.add_done_callback(finished)
        return task

    def _main_done(self, task: asyncio.Task[Any]) -> None:
        if self.over:
            if not task.cancelled():
                task.exception()
            return
        if task.cancelled():
            self._end = None, asyncio.CancelledError("the agent cancelled itself")
        else:
            error = task.exception()
            if isinstance(error, Stopped):
                return
            self._end = (None, error) if error is not None else (task.result(), None)

    # --- branches ----------------------------------------------------------------------------

    def here(self) -> Branch:
        """Give the branch whose code is running. Raises AetherisError in any other place."""
        if self.over or self._ending:
            raise Stopped
        task = asyncio.current_task()
        branch = self.tasks.get(task) if task is not None else None
        if branch is None:
            raise _foreign()
        return branch

    def blocked(self) -> None:
        """Count one branch less that runs."""
        self.running -= 1
        if self.running == 0:
            self.check_soon()

    def unblocked(self) -> None:
        """Count one branch more that runs."""
        self.running += 1

    def check_soon(self) -> None:
        """Look, when this turn of the loop is over, whether the run is quiescent."""
        if not self._checking and not self.over:
            self._checking = True
            self.loop.call_soon(self._check)

    def _check(self) -> None:
        self._checking = False
        if self.running or self.over or self._ending or self._stalled is not None:
            return
        if not self._live and not self._deliver_next():
            return
        if self.in_flight or not self._live or self._held:
            if self.stopping and not self.in_flight:
                self._release()
            return
        if self._end is not None and not self.settled:
            self._finish()
        elif self.stopping:
            self._release()
        else:
            self._consider_parking()

    # --- catching up with the history --------------------------------------------------------

    @property
    def live(self) -> bool:
        """Whether the code has caught up with the history, so that new commands may start."""
        return self._live

    def hold(self, start: Callable[[], None]) -> None:
        """Start a new command as soon as the code has caught up."""
        if self._live and not self.stopping:
            start()
        else:
            self._held.append(start)

    def _maybe_live(self) -> None:
        if not self._live and self.script.over:
            self._live = True
            self.loop.call_soon(self._release_held)

    def _release_held(self) -> None:
        if self.over or self._ending or self.stopping:
            return
        held, self._held = self._held, []
        for start in held:
            start()
        self.check_soon()

    def take(self, step: str, kind: str, name: str, digest: str) -> Step | None:
        """Give what is recorded at `step`, None when the command is new.

        Raises Stopped when another command is recorded there.
        """
        if self._live:
            return None
        found = self.script.take(step)
        if found is None:
            self.unrecorded(step, f"{kind} {name}".strip())
            return None
        difference = compare(found, kind, name, digest)
        if difference is not None:
            self.diverged(difference)
            raise Stopped
        self._maybe_live()
        return found

    def unrecorded(self, step: str, what: str) -> None:
        """Take note of a command that the history does not hold (yet)."""

    def _deliver_next(self) -> bool:
        """Deliver the next recorded outcome. False: look again when that has had its effect."""
        if self.script.order:
            step = self.script.order[0]
            pending = self.pendings.pop(step, None)
            if pending is None:
                self.diverged(self.script.missing(self._doing()))
                return False
            self.script.order.popleft()
            self._maybe_live()
            pending.resolve(*outcome(self.job, self.script.step(step)))
            self.check_soon()
            return False
        if not self.script.over:
            self.diverged(self.script.missing(self._doing()))
            return False
        return self._live

    def _doing(self) -> str:
        if self._end is None:
            return "waits for something else"
        error = self._end[1]
        return "has ended" if error is None else f"has failed: {words(error).message}"

    def diverged(self, found: Divergence) -> None:
        """Park: the code is not the one whose history this is."""
        if not self.over and not self._ending:
            self._park(
                ParkedReason.DIVERGED, title=str(found), steps=(found.step,), note=found.hint
            )

    # --- writing -----------------------------------------------------------------------------

    def now(self) -> int:
        """Give the time, milliseconds."""
        return self.host.clock.now_ms()

    def cause(self, branch: Branch) -> int:
        """Give the event that led the branch to where it is."""
        steps = self.history.steps
        return max((steps[one].done_seq for one in branch.frontier if one in steps), default=1)

    def queue(self, change: Change) -> None:
        """Seal a change, take it into the history in memory, and hand it to the committer."""
        if self.over or self._ending:
            raise Stopped
        self._seal(change)
        fold(change.events, self.history)
        self._hand_over(change)

    def _seal(self, change: Change) -> None:
        change.owner = self
        self.tip.seal(change)

    def _hand_over(self, change: Change) -> None:
        if self._stalled is not None:
            self._stalled.append(change)
        else:
            self.host.committer.put(change)

    async def durable(self, change: Change) -> None:
        """Queue a change and wait until it is on the disk."""
        future: asyncio.Future[None] = self.loop.create_future()

        def done() -> None:
            if not future.done():
                future.set_result(None)

        change.on_durable = done
        self.queue(change)
        self._awaited.add(future)
        try:
            await future
        finally:
            self._awaited.discard(future)

    async def barrier(self) -> None:
        """Wait until everything queued so far is on the disk."""
        await self.durable(Change([ev.LogWritten(at=self.now(), text="checkpoint")]))

    def refused(self, back: list[Change], *, stale: bool) -> None:
        """Take back changes: the job is lost, or somebody has put something into its inbox."""
        if not stale:
            self.discard()
            return
        self._stalled = [*back, *(self._stalled or ())]
        self.read_inbox()

    def discard(self) -> None:
        """Stop: another worker owns the job now. Calls in flight go on, as evidence."""
        self._stop_code()
        self.host.run_over(self)

    # --- the inbox ---------------------------------------------------------------------------

    def rung(self) -> None:
        """Somebody has put something into the inbox.

        Not while a last change is on its way: it guards on the inbox, so either it has given
        the job away before the wish came, or it comes back and the inbox is read then. Reading
        now would hand the outcome to code that may not issue commands any more.
        """
        if not self._ending:
            self.read_inbox()

    def read_inbox(self) -> None:
        """Fetch what is unread and take it into the history, before anything else is written."""
        if self._stalled is None:
            self._stalled = []
        if self._reading:
            # Two readers at once would take the same wish twice.
            self._read_again = True
            return
        self._reading = True
        self.loop.create_task(self._read_inbox())

    async def _read_inbox(self) -> None:
        while True:
            self._read_again = False
            rows = await self.host.store.inbox(self.row.no, self.tip.inbox_seq)
            if not self._read_again:
                break
        self._reading = False
        stalled = self._stalled
        if self.over or stalled is None:
            return
        self._stalled = None
        if stalled:
            self.tip.seq, self.tip.head = stalled[0].after_seq, stalled[0].after_head
        self._take(rows, stalled)

    def _take(self, rows: list[InboxRow], stalled: list[Change]) -> None:
        """Put what arrived in front of what was waiting to be written."""
        base = self.tip.seq
        events: list[AnyEvent] = []
        answered: list[str] = []
        for row in rows:
            if row.kind == "cancel":
                self._cancelled_by = row
            elif row.kind in {"pause", "resume"}:
                self._paused_by = row if row.kind == "pause" else None
            else:
                taken = wishes.take(row, self.row, self.history, (), self.now())
                events += taken.events
                answered += taken.answered
        if rows:
            self.tip.inbox_seq = rows[-1].n
            change = changes.inbox_read(events, rows[-1].n, answered)
            self._seal(change)
            fold(events, self.history)
            self.host.committer.put(change)
        self._put_again(stalled, base, self.tip.seq - base)
        for event in events:
            self._arrived(event)
        if self._cancelled_by is not None:
            self._cancel(self._cancelled_by)
        elif self._paused_by is not None:
            self.stop()
        self.check_soon()

    def _put_again(self, stalled: list[Change], base: int, shift: int) -> None:
        """Queue what was refused once more, as it now stands; drop what may no longer be."""
        for change in stalled:
            if change is self._parking:
                # Something has arrived that it may have waited for.
                self._parking, self._ending = None, False
                continue
            if self._cancelled_by is not None and change.inbox:
                # Not one intent after an acknowledged cancel, and an end only by the cancel.
                self._forget(change)
                self._ending = False
                continue
            for event in change.events:
                if event.cause > base:
                    event.cause += shift
            self._seal(change)
            self.host.committer.put(change)

    def _forget(self, change: Change) -> None:
        """Take intents that were never written out of the history in memory."""
        for event in change.events:
            step = self.history.steps.get(event.step)
            if isinstance(event, ev.CallIntended) and step is not None:
                step.attempts.pop()
                if not step.attempts:
                    del self.history.steps[event.step]

    def _arrived(self, event: AnyEvent) -> None:
        """Let the code go on that waited for this."""
        if isinstance(event, ev.CallSettled):
            react = self.settled.pop(event.step, None)
            if react is not None:
                react(self.history.steps[event.step])
        elif isinstance(event, ev.ApprovalDecided | ev.ChildFinished):
            self.complete(event.step)
        elif isinstance(event, ev.SignalReceived):
            self.offer_signals()

    def offer_signals(self) -> None:
        """Give received signals to the waits for them, both in their order."""
        for wait in [one for one in self.waits.values() if one.reason is ParkedReason.SIGNAL]:
            found = next((one for one in self.history.signals if one.name == wait.name), None)
            if found is not None and self._live:
                event = ev.SignalConsumed(
                    at=self.now(), step=wait.step, cause=found.seq, received=found.seq
                )
                self.queue(changes.closed(event))
                self.complete(wait.step)

    # --- outcomes ----------------------------------------------------------------------------

    def complete(self, step: str) -> None:
        """Give the agent the outcome that the history now has for `step`."""
        wait = self.waits.pop(step, None)
        if wait is not None and wait.handle is not None:
            wait.handle.cancel()
        pending = self.pendings.pop(step, None)
        if pending is not None and not self.over:
            pending.resolve(*outcome(self.job, self.history.steps[step]))
        if self.running == 0:
            self.check_soon()

    def wait_until(self, wait: Wait) -> None:
        """Keep an open wait, and wake it in time."""
        self.waits[wait.step] = wait
        if wait.until:
            delay = max(0.0, (wait.until - self.now()) / 1_000)
            wait.handle = self.loop.call_later(min(delay, 86_400.0), self._wake, wait)
        if self.running == 0:
            self.check_soon()

    def _wake(self, wait: Wait) -> None:
        if self.over or self.waits.get(wait.step) is not wait:
            return
        if self.now() < wait.until:
            self.wait_until(wait)
            return
        del self.waits[wait.step]
        wait.wake()

    # --- the end -----------------------------------------------------------------------------

    def _finish(self) -> None:
        if self._end is None:
            return
        value, error = self._end
        now, event = self.now(), None
        if error is None:
            try:
                output = codec.canonical(value, f"what agent {self.agent.id} returned")
                event = ev.JobSucceeded(at=now, cause=self.history.seq, output=Raw(output))
            except InvalidPayload as problem:
                error = problem
        if event is None:
            failed = ev.JobFailed(at=now, cause=self.history.seq, error=words(error))
            self._write_end(failed)
        else:
            self._write_end(event)

    def _cancel(self, wish: InboxRow) -> None:
        """End as cancelled: stop the code and what is in flight, and say what is unknown."""
        taken = wishes.take(wish, self.row, self.history, (), self.now())
        end = taken.events[-1]
        children = [
            wishes.cancel_child(self.job, step.child)
            for step in self.history.steps.values()
            if step.child and not step.done
        ]
        for task in self.in_flight.values():
            task.cancel()
        if isinstance(end, ev.JobCancelled):
            self._write_end(end, before=taken.events[:-1], ask=taken.ask, deliver=children)

    def _write_end(
        self,
        event: ev.JobSucceeded | ev.JobFailed | ev.JobCancelled,
        *,
        before: Sequence[AnyEvent] = (),
        ask: Sequence[Question] = (),
        deliver: Sequence[Delivery] = (),
    ) -> None:
        if self.row.parent:
            self.row.status = _STATUS[type(event)]
            deliver = [*deliver, wishes.child_finished(self.row, event)]
        change = changes.ended(event, before=before, ask=ask, deliver=deliver)
        failpoints.hit("end.before_commit")
        self._last(change, "end.after_commit")

    def _park(
        self,
        reason: ParkedReason,
        *,
        steps: tuple[str, ...] = (),
        until: int = 0,
        title: str = "",
        note: str = "",
    ) -> None:
        event = ev.JobParked(
            at=self.now(), cause=self.history.seq, reason=reason, steps=steps, until=until,
            note=note or title,
        )  # fmt: skip
        ask: tuple[Question, ...] = ()
        if title:
            ask = (
                Question(step="", kind=reason, since=event.at, title=title, details=_quoted(note)),
            )
        failpoints.hit("park.before_commit")
        change = changes.parked(event, reason, wake_at=until, ask=ask)
        if steps and reason is not ParkedReason.DIVERGED:
            self._parking = change
        self._last(change, "park.after_commit")

    def _release(self) -> None:
        if self._paused_by is not None:
            wish = self._paused_by
            parked = ev.JobParked(at=self.now(), actor=wish.actor, reason=ParkedReason.PAUSED)
            ask = (Question(step="", kind="paused", since=parked.at, title="paused by a person"),)
            self._last(changes.parked(parked, ParkedReason.PAUSED, ask=ask), "park.after_commit")
            return
        event = ev.JobQueued(at=self.now(), reason="released", worker=self.host.worker_id)
        self._last(changes.released(event), "park.after_commit")

    def _last(self, change: Change, failpoint: str) -> None:
        """Write the change that gives the job away, and let go of it once it is durable."""
        self._ending = True

        def durable() -> None:
            failpoints.hit(failpoint)
            self._stop_code()
            self.host.run_over(self)

        change.on_durable = durable
        self._seal(change)
        self._hand_over(change)

    def _consider_parking(self) -> None:
        """Nothing runs and nothing is in flight: put the job away until its next cause."""
        open_waits = list(self.waits.values())
        soonest = min((one.until for one in open_waits if one.until), default=0)
        if soonest and soonest - self.now() < SHORT_WAIT_MS:
            return
        if not open_waits:
            return  # the code waits for something of its own
        reason = next(one for one in _LOUDEST if any(w.reason is one for w in open_waits))
        self._park(reason, steps=tuple(one.step for one in open_waits), until=soonest)

    def _stop_code(self) -> None:
        """Let the agent's code end; whatever it still asks for is refused."""
        if self.over:
            return
        self.over = True
        for wait in self.waits.values():
            if wait.handle is not None:
                wait.handle.cancel()
        for task in list(self.tasks):
            task.cancel()
        for future in self._awaited:
            future.cancel()
        for pending in self.pendings.values():
            pending.resolve(None, Stopped())
        if self.on_over is not None:
            self.on_over()

    def broken(self, error: BaseException) -> None:
        """Something of ours raised: give the worker the error, which stops it."""
        self.host.failed(error)

    # --- stopping gracefully -----------------------------------------------------------------

    def stop(self) -> None:
        """Start nothing new; give the job back once nothing is in flight."""
        self.stopping = True
        self.check_soon()
        if self.running and not self.in_flight:
            # Code that runs without a command cannot be waited for: what it has said is kept.
            self.loop.call_later(0.05, self._release_anyway)

    def _release_anyway(self) -> None:
        if not self.over and not self._ending and not self.in_flight:
            self._release()


_STATUS: Final = {
    ev.JobSucceeded: JobState.SUCCEEDED,
    ev.JobFailed: JobState.FAILED,
    ev.JobCancelled: JobState.CANCELLED,
}

_LOUDEST: Final = (
    ParkedReason.IN_DOUBT,
    ParkedReason.BLOCKED_TOOL,
    ParkedReason.BUDGET,
    ParkedReason.APPROVAL,
    ParkedReason.GLOBAL_KEY,
    ParkedReason.SIGNAL,
    ParkedReason.CHILD,
    ParkedReason.TIMER,
)
"""What a job is said to wait for when it waits for several things."""


def _quoted(text: str) -> str:
    return codec.canonical(text).decode() if text else ""


def words(error: BaseException | None) -> Error:
    """Describe an exception without its traceback."""
    kind = error.code if isinstance(error, AetherisError) else "exception"
    text = str(error)[:_WORDS].encode("utf-8", "replace").decode()
    return Error(kind, text, type(error).__name__)


def _foreign() -> AetherisError:
    return UsageError(
        "ctx was used from a task or thread that is not a branch of the job",
        why="commands from there have no fixed place, so they could not be recovered",
        fix="use ctx.gather(lambda: …, lambda: …) to do things in parallel",
    )
