"""One job while this worker owns it: the agent's code, its history in memory, and its end.

The run counts the branches whose code is running. When none is, it is quiescent, and then
exactly one of these follows: a recorded outcome is delivered, the code has diverged, a call in
flight is waited for, or the job parks.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final, Protocol, TypeAlias

from aetheris_cli.domain import changes
from aetheris_cli.domain import events as ev
from aetheris_cli.domain.changes import Change
from aetheris_cli.domain.errors import AetherisError, UsageError
from aetheris_cli.domain.events import AnyEvent
from aetheris_cli.domain.history import Step
from aetheris_cli.domain.records import JobRow
from aetheris_cli.domain.states import ParkedReason
from aetheris_cli.engine import endings
from aetheris_cli.engine.branches import NOWHERE, Branch
from aetheris_cli.engine.deadlines import Deadlines
from aetheris_cli.engine.delivery import Delivery
from aetheris_cli.engine.journal import Desk, Journal, Stopped
from aetheris_cli.engine.script import Divergence
from aetheris_cli.engine.threads import Carried, Threads
from aetheris_cli.ports import failpoints
from aetheris_cli.ports.code import Agent, Registry

MAX_DEATHS: Final = 5
SHORT_WAIT_MS: Final = 1_000
"""A job whose next timer is nearer than this keeps its worker."""
_WARNINGS: Final = 3
"""So often code whose run is over is told so; then its commands never return."""
_ASIDE_S: Final = 0.05


class Host(Desk, Protocol):
    """What a run needs of the worker that it belongs to."""

    worker_id: str
    registry: Registry
    threads: Threads
    deadlines: Deadlines

    sending: int
    """How many calls have a tool running, in this or a former run."""

    async def owner_gone(self, worker: str) -> bool:
        """Whether it is proven that nothing of this worker runs any more."""

    async def children_gone(self, worker: str) -> bool:
        """Whether it is proven that no process survives that its tools have begun."""

    def run_over(self, run: "Run") -> None:
        """Take note that the run no longer needs the worker."""

    def failed(self, error: BaseException) -> None:
        """Stop the worker: this error is not a job's."""

    def child_spawned(self) -> None:
        """Take note that there may be a new job to claim."""


class InFlight(Protocol):
    """A call that was begun and has not ended."""

    def halt(self) -> None:
        """Begin nothing more, and cancel what runs."""


class Looking(Protocol):
    """A call that waits for what another job does."""

    def look_again(self) -> None:
        """Look whether the wait is over."""


class Wait:
    """Something open that is no call in flight: its reason, and when it ends by itself."""

    __slots__ = ("handle", "name", "reason", "step", "until", "wake")

    def __init__(
        self, step: str, reason: ParkedReason, until: int, wake: Callable[[], None], name: str = ""
    ) -> None:
        self.step = step
        self.reason = reason
        self.until = until
        self.wake = wake
        """Called at `until`; the wait stays open until `Run.complete` or `Run.forget`."""
        self.name = name
        self.handle: asyncio.TimerHandle | None = None


Perform: TypeAlias = Callable[["Run"], Coroutine[Any, Any, Any]]
"""Calls the agent's code in the name of a run; given from outside, as it stands on the run."""


class Run:
    """The engine's side of one job. The agent sees it through a Context."""

    delivery_type: type[Delivery] = Delivery

    def __init__(
        self, host: Host, agent: Agent, row: JobRow, events: Sequence[AnyEvent], perform: Perform
    ) -> None:
        self.host = host
        self._perform = perform
        self.agent = agent
        self.row = row
        self.job = row.id
        self.loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self.journal = Journal(self, host, row, events)
        self.history = self.journal.history
        self.queue = self.journal.queue
        self.delivery = self.delivery_type(self)
        self.tasks: dict[asyncio.Task[Any], Branch] = {}
        self.in_flight: dict[str, InFlight] = {}
        self.waits: dict[str, Wait] = {}
        self.late: set[str] = set()
        """Steps whose tool still runs in a thread that was given up."""
        self.settled: dict[str, Callable[[Step], None]] = {}
        """Calls in doubt, and what to do when somebody settles them."""
        self.keyed: dict[str, Looking] = {}
        """Calls that want a global key which they do not hold yet."""
        self.running = 0
        self.over = False
        self.stopping = False
        self._warnings = _WARNINGS
        self.joins: dict[str, int] = {}
        """The gathers that have ended, each with the event that ended it."""
        self._end: tuple[Any, BaseException | None] | None = None
        self._checking = False
        self.tick = 0

    # --- the start ---------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to run the agent's code."""
        if self.row.inbox_seq > self.row.inbox_done:
            self.journal.read_inbox()
        if self.history.cancel is not None:
            self._cancel(self.history.cancel)
            return
        if self.history.pause is not None:
            self.stopping = True
            self._release()
            return
        if self.history.deaths >= MAX_DEATHS:
            self._park(
                ParkedReason.CRASH_LOOP,
                title=f"its worker died {self.history.deaths} times without progress",
            )
            return
        if self._deadline:
            left = self._deadline - self.now()
            if left <= 0:
                self.expire()
                return
            self.host.deadlines.add(self, left / 1_000)
        self.delivery.begin()
        self.spawn(Branch(), self._perform(self), self._main_done)

    @property
    def _deadline(self) -> int:
        """When the job's time is over; 0: never."""
        limit = self.agent.timeout_ms
        return self.row.started_at + limit if limit else 0

    def expire(self) -> None:
        """End the job: its time is over."""
        if self.gone:
            return
        for call in list(self.in_flight.values()):
            call.halt()
        limit = self.agent.timeout_ms
        self._write_end(endings.timed_out(self.row, self.history, limit, self.now()))

    def spawn(
        self,
        branch: Branch,
        code: Coroutine[Any, Any, Any],
        done: Callable[[asyncio.Task[Any]], None],
    ) -> asyncio.Task[Any]:
        """Run agent code as a branch of its own."""
        task = self.loop.create_task(_contained(code))
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
            if isinstance(error, Carried):
                error = error.error
            self._end = (None, error) if error is not None else (task.result(), None)

    # --- branches ----------------------------------------------------------------------------

    def here(self) -> Branch:
        """Give the branch whose code is running. Raises AetherisError in any other place."""
        if self.gone:
            self.warn()
            return NOWHERE
        # Naming the loop spares a system call; its task is only ours in its own thread.
        task = asyncio.current_task(self.loop)
        branch = self.tasks.get(task) if task is not None else None
        if branch is None or threading.get_ident() != self._thread:
            raise _foreign()
        return branch

    @property
    def gone(self) -> bool:
        """Whether no command has any effect any more."""
        return self.over or self.journal.ending

    @property
    def stalled(self) -> bool:
        """Whether nothing may go on before the inbox has been read."""
        return self.journal.stalled

    def warn(self) -> None:
        """Raise Stopped, so that the code ends; code that goes on all the same is let be."""
        self._warnings -= 1
        if self._warnings >= 0:
            raise Stopped

    def blocked(self) -> None:
        """Count one branch less that runs."""
        self.running -= 1
        if self.running == 0:
            self.still()

    def unblocked(self) -> None:
        """Count one branch more that runs."""
        self.running += 1

    def still(self) -> None:
        """Take note that no branch runs: unless something is in flight, that must have a reason."""
        if not self.in_flight or self.stopping or not self.delivery.live:
            self.check_soon()

    def check_soon(self) -> None:
        """Look, when this turn of the loop is over, whether the run is quiescent."""
        if not self._checking and not self.over:
            self._checking = True
            self.loop.call_soon(self._check)

    def _check(self) -> None:
        self._checking = False
        if self.running or self.gone or self.stalled:
            return
        if not self.delivery.live and not self.delivery.give_next():
            return
        if self.in_flight or self.delivery.holds:
            if self.stopping and not self.in_flight:
                self._release()
            return
        if self._end is not None and not self._owes():
            self._finish()
        elif self.stopping:
            self._release()
        else:
            self._consider_parking()

    def _owes(self) -> bool:
        """Whether a call may have had an effect of which the history does not say how it ended."""
        return any(step.attempts and step.effect != "pure" for step in self.history.open_calls())

    def doing(self) -> str:
        """Say what the code does instead of what it should."""
        if self._end is None:
            return "waits for something else"
        error = self._end[1]
        return "has ended" if error is None else f"has failed: {endings.words(error).message}"

    def diverged(self, found: Divergence) -> None:
        """Park: the code is not the one whose history this is."""
        if not self.over and not self.journal.ending:
            self._park(
                ParkedReason.DIVERGED, title=str(found), steps=(found.step,), note=found.hint
            )

    # --- writing -----------------------------------------------------------------------------

    def now(self) -> int:
        """Give the time, milliseconds."""
        return self.host.clock.now_ms()

    def cause(self, branch: Branch) -> int:
        """Give the event that led the branch to where it is."""
        return self.seen(branch.frontier)

    def seen(self, steps: Iterable[str]) -> int:
        """Give the last event that gave one of these steps, or gathers, its outcome."""
        found = self.history.steps
        return max(
            (found[one].done_seq if one in found else self.joins.get(one, 1) for one in steps),
            default=1,
        )

    def withdrawn(self, step: str) -> None:
        """Take note that an attempt will not be made: its intent was never written."""
        call = self.in_flight.pop(step, None)
        if call is not None:
            call.halt()

    def discard(self) -> None:
        """Stop: another worker owns the job now. Calls in flight go on, as evidence."""
        self._stop_code()
        self.host.run_over(self)

    # --- what others wish --------------------------------------------------------------------

    def arrived(self, events: Sequence[AnyEvent]) -> None:
        """React to what was in the inbox."""
        if self.history.cancel is not None:
            self._cancel(self.history.cancel)
            return
        if self.gone:
            return  # it stands in the history, for whoever owns the job next
        for event in events:
            self._arrived(event)
        for call in list(self.keyed.values()):
            call.look_again()
        if self.history.pause is not None:
            self.stop()
        self.check_soon()

    def _arrived(self, event: AnyEvent) -> None:
        """Let the code go on that waited for this."""
        if isinstance(event, ev.CallSettled):
            step = self.history.steps[event.step]
            react = self.settled.pop(event.step, None)
            if react is not None:
                react(step)
            elif step.done:
                self.complete(event.step)
        elif isinstance(event, ev.ApprovalDecided | ev.ChildFinished):
            self.complete(event.step)
        elif isinstance(event, ev.SignalReceived):
            self.offer_signals()

    def offer_signals(self) -> None:
        """Give received signals to the waits for them, both in their order."""
        for wait in [one for one in self.waits.values() if one.reason is ParkedReason.SIGNAL]:
            found = next((one for one in self.history.signals if one.name == wait.name), None)
            if found is not None and self.delivery.live:
                event = ev.SignalConsumed(
                    at=self.now(), step=wait.step, cause=found.seq, received=found.seq
                )
                self.queue(changes.closed(event))
                self.complete(wait.step)

    # --- outcomes ----------------------------------------------------------------------------

    def complete(self, step: str) -> None:
        """Give the agent the outcome that the history now has for `step`, when it is its turn."""
        if self.waits:
            self.forget(step)
        self.delivery.complete(step)
        if self.running == 0:
            self.still()

    def propose(self, wait: Wait, change: Change) -> None:
        """End a wait by its time, unless an answer has come before."""
        step = wait.step

        def overtaken() -> None:
            self.delivery.withdraw(step)
            self.look_again(wait)

        self.delivery.reserve(step)
        self.journal.propose(change, then=lambda: self.complete(step), overtaken=overtaken)

    def forget(self, step: str) -> None:
        """Let go of an open wait."""
        wait = self.waits.pop(step, None)
        if wait is not None and wait.handle is not None:
            wait.handle.cancel()

    def wait_until(self, wait: Wait) -> None:
        """Keep an open wait, and wake it in time."""
        self.waits[wait.step] = wait
        if wait.until:
            delay = max(0.0, (wait.until - self.now()) / 1_000)
            wait.handle = self.loop.call_later(min(delay, 86_400.0), self._wake, wait)
        if self.running == 0:
            self.still()

    def look_again(self, wait: Wait) -> None:
        """End a wait by its time after all, unless what has arrived has ended it."""
        self.loop.call_soon(self._wake, wait)

    def _wake(self, wait: Wait) -> None:
        if self.over or self.journal.ending or self.waits.get(wait.step) is not wait:
            return  # if the job does not end or park after all, `_unparked` looks again
        if self.now() < wait.until:
            self.wait_until(wait)
            return
        wait.wake()

    # --- the end -----------------------------------------------------------------------------

    def _finish(self) -> None:
        if self._end is not None:
            event = endings.result(self.agent.id, *self._end, self.history, self.now())
            self._write_end(endings.ended(self.row, self.history, event))

    def _cancel(self, wish: ev.JobAsked) -> None:
        """End as cancelled: stop the code and what is in flight, and say what is unknown."""
        for call in list(self.in_flight.values()):
            call.halt()
        self._write_end(endings.cancelled(self.row, self.history, wish, self.now()))

    def _write_end(self, change: Change) -> None:
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
        if steps and reason is not ParkedReason.DIVERGED and self._deadline:
            # What waits by itself wakes to end; what a person has to lift waits for the person.
            until = min(until or self._deadline, self._deadline)
        change = endings.parked(
            self.history, reason, self.now(), steps=steps, until=until, title=title, note=note
        )
        failpoints.hit("park.before_commit")
        waiting = bool(steps) and reason is not ParkedReason.DIVERGED
        # What arrives may be what it waits for: then it looks again.
        self._last(change, "park.after_commit", overtaken=self._unparked if waiting else None)

    def _unparked(self) -> None:
        """Go on: what has arrived came before the park. Times that ended meanwhile count now."""
        now = self.now()
        for wait in self.waits.values():
            if 0 < wait.until <= now:
                self.look_again(wait)
        if 0 < self._deadline <= now:
            self.loop.call_soon(self.expire)
        self.check_soon()

    def _release(self) -> None:
        wish = self.history.pause
        if wish is not None:
            change = endings.paused(wish, self.now())
            failpoints.hit("park.before_commit")
        else:
            change = endings.released(self.host.worker_id, self.now())
        # A `resume` may arrive first: then the job goes back to the queue instead.
        self._last(change, "park.after_commit", overtaken=self._release)

    def _last(
        self, change: Change, failpoint: str, overtaken: Callable[[], None] | None = None
    ) -> None:
        """Write the change that gives the job away, and let go of it once it is durable."""
        tells = bool(change.deliver)  # the change itself would be a circle with its callback

        def durable() -> None:
            failpoints.hit(failpoint)
            if tells:
                self.host.store.ring()
            self._stop_code()
            self.host.run_over(self)

        change.on_durable = durable
        self.journal.last(change, overtaken=overtaken)

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
        if self.tick:
            self.host.deadlines.remove(self)
        self.journal.close()
        for wait in self.waits.values():
            if wait.handle is not None:
                wait.handle.cancel()
        for task in list(self.tasks):
            task.cancel()
        self.delivery.close()

    def broken(self, error: BaseException) -> None:
        """Something of ours raised: give the worker the error, which stops it."""
        self.host.failed(error)

    # --- stopping gracefully -----------------------------------------------------------------

    def stop(self) -> None:
        """Start nothing new; give the job back once nothing is in flight."""
        self.stopping = True
        self.check_soon()
        self.landed()

    def landed(self) -> None:
        """Take note that a call is not in flight any more."""
        if self.stopping and self.running and not self.in_flight:
            # Code that runs without a command cannot be waited for: what it has said is kept.
            self.loop.call_later(_ASIDE_S, self._release_anyway)

    def _release_anyway(self) -> None:
        if not self.gone and not self.in_flight:
            self._release()


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


async def _contained(code: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - the agent's own
    """Run agent code; what would end the whole event loop ends the branch instead."""
    try:
        return await code
    except (SystemExit, KeyboardInterrupt) as error:
        raise Carried(error) from None


def _foreign() -> AetherisError:
    return UsageError(
        "ctx was used from a task or thread that is not a branch of the job",
        why="commands from there have no fixed place, so they could not be recovered",
        fix="use ctx.gather(lambda: …, lambda: …) to do things in parallel",
    )
