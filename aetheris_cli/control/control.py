"""The operations: everything that a person or a program can ask of a store."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final, Protocol

from msgspec import Raw

from aetheris_cli.control import shapes
from aetheris_cli.control.shapes import Shape
from aetheris_cli.domain import chain, codec, ids, wishes
from aetheris_cli.domain import events as ev
from aetheris_cli.domain.changes import Delivery, NewJob
from aetheris_cli.domain.errors import Conflict, NotFound, UsageError, WaitTimedOut
from aetheris_cli.domain.events import NONE
from aetheris_cli.domain.history import History, fold
from aetheris_cli.domain.ids import JobId, StepId
from aetheris_cli.domain.records import JobRow, WorkerRow
from aetheris_cli.domain.states import JOB_ENDED, JobState
from aetheris_cli.ports import failpoints
from aetheris_cli.ports.clock import Clock
from aetheris_cli.ports.store import Filter, Store

_LOOK_S: Final = 0.02
_PAGE: Final = 500
_APPROVAL: Final = "apr_"
MAX_LABELS: Final = 64
_VERDICTS: Final = ("happened", "did_not_happen", "fail", "seen")


class Keeper(Protocol):
    """Keeps new jobs: the store, or a worker of this process that begins them at once."""

    async def submit(self, new: NewJob, now: int) -> tuple[JobRow, bool]:
        """Keep a job. Gives its row and whether it is new; durable when this returns."""


class Control:
    """The operations on one store, in the name of one principal."""

    def __init__(
        self, store: Store, clock: Clock, actor: str, is_gone: Callable[[WorkerRow], bool]
    ) -> None:
        self.store = store
        self.clock = clock
        self.actor = actor
        self._is_gone = is_gone
        self.keeper: Keeper | None = None
        """Who keeps what is submitted, when it is not the store itself."""

    # --- submitting --------------------------------------------------------------------------

    def new_job(
        self,
        agent: str,
        message: str = "",
        *,
        input: Any = None,  # noqa: A002, ANN401 - the public name; any JSON
        key: str = "",
        labels: Mapping[str, str] | None = None,
        priority: int = 0,
        queue: str = "",
        delay_ms: int = 0,
        version: str = "",
        retry_of: str = "",
    ) -> NewJob:
        """Build a job to submit. Raises InvalidPayload for what cannot be kept."""
        now = self.clock.now_ms()
        job_id = ids.make("job", now, self.clock.chance(ids.CHANCE_BYTES))
        codec.text(agent, "the agent's id")
        codec.text(message, "the message", most=codec.MAX_MESSAGE, empty=True)
        for text, what in ((key, "the key"), (queue, "the queue"), (version, "the version")):
            codec.text(text, what, empty=True)
        if not isinstance(labels, Mapping | None):
            raise UsageError(f"labels are {str(labels)[:40]}", why="they are names with texts")
        for name, text in (labels or {}).items():
            codec.text(name, "the name of a label")
            codec.text(text, f"the label {name[:40]!r}", empty=True)
        if len(labels or {}) > MAX_LABELS:
            raise UsageError(f"a job has at most {MAX_LABELS} labels", fix="leave some away")
        if not isinstance(priority, int) or not -(2**31) <= priority < 2**31:
            raise UsageError(
                f"the priority is {str(priority)[:40]}", why="it is a whole number of 32 bits"
            )
        event = ev.JobSubmitted(
            at=now, actor=self.actor, agent=agent, version=version, message=message,
            input=NONE if input is None else Raw(codec.canonical(input, "the input")),
            labels=dict(labels or {}), key=key, queue=queue, priority=priority,
            run_at=now + delay_ms if delay_ms else 0, root=job_id, retry_of=retry_of,
        )  # fmt: skip
        return NewJob(job_id, event)

    async def submit(self, new: NewJob) -> tuple[JobRow, bool]:
        """Keep a job. Gives its row and whether it is new; durable when this returns."""
        failpoints.hit("submit.before_commit")
        row, created = await (self.keeper or self.store).submit(new, self.clock.now_ms())
        failpoints.hit("submit.after_commit")
        return row, created

    async def retry(self, job: str) -> JobRow:
        """Submit the job's input again as a new job. Raises Conflict while the job is open."""
        row = await self.store.find(job)
        if row.status not in JOB_ENDED:
            raise Conflict(
                f"job {row.id} is {row.status}",
                why="retry starts a new job from an ended one",
                fix=f"`aetheris cancel {row.id}` ends it, `aetheris show {row.id}` looks at it",
                job=row.id,
            )
        first = (await self.store.facts(row)).first
        if not isinstance(first, ev.JobSubmitted):
            raise Conflict(f"the history of job {row.id} does not begin with its submission")
        new = self.new_job(
            first.agent, first.message, input=shapes.value(first.input), labels=first.labels,
            priority=first.priority, queue=first.queue, retry_of=row.id,
        )  # fmt: skip
        made, _ = await self.submit(new)
        return made

    # --- looking -----------------------------------------------------------------------------

    async def job(self, job: str) -> Shape:
        """Give a job."""
        return shapes.job(await self.store.facts(await self.store.find(job)))

    async def jobs(self, wanted: Filter, *, whole: bool = True) -> list[Shape]:
        """List jobs, newest first; not `whole`: without values too large for a list."""
        found = await self.store.all_facts(wanted, whole=whole)
        return [shapes.job(facts) for facts in found]

    async def history(self, row: JobRow) -> History:
        """Fold the job's whole history."""
        return fold(await self.store.events(row.no))

    async def steps(self, job: str) -> list[Shape]:
        """Give the steps of a job."""
        row = await self.store.find(job)
        return shapes.steps(await self.history(row), row.id)

    async def calls(self, job: str) -> list[Shape]:
        """Give the ledger of a job."""
        row = await self.store.find(job)
        history = await self.history(row)
        return [shapes.call(one, row.id) for one in history.steps.values() if one.call is not None]

    async def events(
        self, job: str, after: int = 0, *, follow: bool = False
    ) -> AsyncIterator[Shape]:
        """Give the events of a job; with `follow` until it has ended."""
        row = await self.store.find(job)
        head = chain.genesis(row.id)
        if after > 0:
            before = await self.store.lines(row.no, after - 1, 1)
            head = before[0][2] if before else head
        while True:
            # The status is read first: what an ended job's history holds then is all of it.
            row = await self.store.job(row.id)
            version = await self.store.version()
            while lines := await self.store.lines(row.no, after, _PAGE):
                events = await self.store.events(row.no, after, len(lines))
                for one, (seq, _, line_head) in zip(events, lines, strict=True):
                    yield shapes.event(one, row.id, head.hex(), line_head.hex())
                    head, after = line_head, seq
            if not follow or row.status in JOB_ENDED:
                return
            while await self.store.version() == version:  # noqa: ASYNC110 - another process writes
                await asyncio.sleep(_LOOK_S)

    async def watch(self, job: str) -> AsyncIterator[tuple[Shape, list[Shape]]]:
        """Give the job and its steps now and after every change, until it has ended.

        Changes that come faster than they are taken are given as one.
        """
        row = await self.store.find(job)
        history = History()
        while True:
            version = await self.store.version()
            facts = await self.store.facts(row)
            fold(await self.store.events(row.no, history.seq), history)
            yield shapes.job(facts), shapes.steps(history, row.id)
            if facts.row.status in JOB_ENDED:
                return
            while await self.store.version() == version:  # noqa: ASYNC110 - another process writes
                await asyncio.sleep(_LOOK_S)

    async def wait(self, job: str, *, goal: str = "done", timeout_s: float | None = None) -> Shape:
        """Wait until a job is `done`, `parked` (or done), or has finished `step:ID`.

        A job that waits for a person ends the wait for `done` as well: nothing would come.
        Raises WaitTimedOut.
        """
        row = await self.store.find(job)
        reached = _goal(goal, self.clock)
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            version = await self.store.version()
            facts = await self.store.facts(row)
            if reached(facts.row) or (
                goal.startswith("step:") and await self._step_done(facts.row, goal[5:])
            ):
                return shapes.job(facts)
            while await self.store.version() == version and not reached(facts.row):
                if deadline is not None and time.monotonic() > deadline:
                    raise WaitTimedOut(
                        f"job {row.id} is still {facts.row.status} after {timeout_s:g} s",
                        why="it is durable and goes on",
                        fix=f"aetheris wait {row.id}",
                        job=row.id,
                    )
                await asyncio.sleep(_LOOK_S)

    async def _step_done(self, row: JobRow, step: str) -> bool:
        found = (await self.history(row)).steps.get(step)
        return found is not None and found.done

    async def parked(self, kind: str = "") -> list[Shape]:
        """Give everything that waits for a person, oldest first; `kind`: of this kind alone.

        What nobody can answer any more, because its time is over, is left out.
        """
        now = self.clock.now_ms()
        found = [
            (row, one)
            for row, one in await self.store.open_questions(kind)
            if not 0 < one.until <= now
        ]
        items = [shapes.question(row, one) for row, one in found]
        doubtful = [at for at, (_, one) in enumerate(found) if one.kind in shapes.OF_A_CALL]
        if doubtful:
            workers = {one.id: one for one in await self.store.workers(all_of_them=True)}
            for at in doubtful:
                row, question = found[at]
                step = (await self.history(row)).steps[question.step]
                sender = workers.get(step.attempts[-1].worker) if step.attempts else None
                # Unknown workers are not shown as gone: nothing proves it.
                items[at]["owner_alive"] = sender is None or not self._is_gone(sender)
                items[at]["evidence"] = [shapes.evidence(one) for one in step.evidence]
        return items

    async def workers(self, *, all_of_them: bool = False) -> list[Shape]:
        """Give the workers that hold a lease, or also the former ones."""
        rows = await self.store.workers(all_of_them=all_of_them)
        return [shapes.worker(row, alive=not self._is_gone(row)) for row in rows]

    # --- deciding ----------------------------------------------------------------------------

    async def decide(
        self,
        target: str,
        *,
        approved: bool,
        edit: Any = None,  # noqa: ANN401 - any JSON
        comment: str = "",
    ) -> Shape:
        """Answer an approval, named by its id or by a job with exactly one open approval."""
        row, step = await self._approval(target)
        value = NONE if edit is None else Raw(codec.canonical(edit, "the edited value"))
        wish = wishes.decide(
            row.id, step, self.actor, approved=approved, value=value, comment=comment
        )
        approval = ids.approval_id(JobId(row.id), StepId(step))
        return await self._answer(wish, f"approval {approval} was decided", "show")

    async def _approval(self, target: str) -> tuple[JobRow, str]:
        if "." in target:
            job, step = ids.split_call(target)
            return await self.store.find(job), step
        if target.startswith(_APPROVAL):
            target = "job_" + target.removeprefix(_APPROVAL)  # the beginning of an approval's id
        row = await self.store.find(target)
        open_ = [one for one in await self.store.questions(row.no) if one.kind == "approval"]
        if len(open_) > 1:
            raise UsageError(
                f"job {row.id} has {len(open_)} open approvals",
                why="the answer must name one",
                fix="`aetheris parked` shows their ids",
                job=row.id,
            )
        if not open_:
            raise Conflict(
                f"job {row.id} has no open approval",
                why=f"it is {row.status}" + (f" for {row.parked}" if row.parked else ""),
                fix="`aetheris parked` lists what is open",
                job=row.id,
            )
        return row, open_[0].step

    async def settle(
        self,
        call: str,
        *,
        verdict: str,
        result: Any = None,  # noqa: ANN401 - any JSON
        reason: str = "",
    ) -> Shape:
        """Say what became of a call in doubt: `happened`, `did_not_happen` or `fail`.

        `seen` closes the alarm about a call that was settled otherwise than a late answer says.
        """
        if verdict not in _VERDICTS:
            # Whatever is no known verdict would let the call be sent again.
            raise UsageError(
                f"the verdict is {str(verdict)[:40]!r}", why=f"it is one of {', '.join(_VERDICTS)}"
            )
        job, step = ids.split_call(call)
        row = await self.store.find(job)
        if (await self.history(row)).call(step) is None:
            raise NotFound(
                f"job {row.id} has no call {step[:80]!r}",
                why="its history holds no such step, or that step is no call",
                fix=f"`aetheris calls {row.id}` lists them",
                job=row.id,
            )
        value = Raw(codec.canonical(result, "the result")) if verdict == "happened" else NONE
        wish = wishes.settle(row.id, step, self.actor, verdict=verdict, result=value, reason=reason)
        return await self._answer(wish, f"call {row.id}.{step} was settled", "calls")

    async def _answer(self, wish: Delivery, answered: str, look: str) -> Shape:
        """Deliver the one answer that a question takes. Raises Conflict for a second one."""
        receipt = await self._deliver(wish)
        if not receipt.new:
            raise Conflict(
                f"{answered} already",
                why=f"by {receipt.first.actor or 'somebody'} at {shapes.time(receipt.first.at)}",
                fix=f"`aetheris {look} {wish.job}` shows how",
                job=wish.job,
            )
        return await self.job(wish.job)

    async def signal(
        self,
        job: str,
        name: str,
        value: Any = None,  # noqa: ANN401 - any JSON
        *,
        key: str | None = None,
    ) -> Shape:
        """Send a named value to a job. The same key is taken once."""
        row = await self.store.find(job)
        codec.text(name, "the name of a signal")
        data = Raw(codec.canonical(value, "the signal's value"))
        wish = wishes.signal(row.id, name, data, self.actor, key or "")
        receipt = await self._deliver(wish)
        if not receipt.new and receipt.first.body != wish.body:
            raise Conflict(
                f"the key {key!r} was used for another signal of job {row.id}",
                why="the same key is taken once, and it named other things",
                fix="give another key, or the name and value of the first",
                job=row.id,
            )
        return await self.job(row.id)

    async def cancel(self, job: str, reason: str | None = None) -> Shape:
        """Cancel a job and its children. Once this returns, no call of it begins any more."""
        row = await self.store.find(job)
        await self._deliver(wishes.cancel(row.id, self.actor, reason or ""))
        return await self.job(row.id)

    async def pause(self, job: str) -> Shape:
        """Stop a job at the next place where nothing is in flight."""
        row = await self.store.find(job)
        await self._deliver(wishes.pause(row.id, self.actor))
        return await self.job(row.id)

    async def resume(self, job: str) -> Shape:
        """Let a job go on that a person or a rule has stopped."""
        row = await self.store.find(job)
        await self._deliver(wishes.resume(row.id, self.actor))
        return await self.job(row.id)

    async def _deliver(self, wish: Delivery) -> wishes.Receipt:
        return await self.store.deliver(wish, self.clock.now_ms())


def waits_for_person(row: JobRow, now: int) -> bool:
    """Whether nothing but a person's decision lets the job go on."""
    due = 0 < row.wake_at <= now
    return row.status is JobState.PARKED and row.parked in shapes.FOR_A_PERSON and not due


def _goal(text: str, clock: Clock) -> Callable[[JobRow], bool]:
    if text == "done":
        return lambda row: row.status in JOB_ENDED or waits_for_person(row, clock.now_ms())
    if text == "parked":
        return lambda row: row.status in JOB_ENDED or row.status is JobState.PARKED
    if text.startswith("step:") and text != "step:":
        return lambda row: row.status in JOB_ENDED
    raise UsageError(f"{text!r} is nothing to wait for", why="it is done, parked or step:ID")
