"""The public JSON shapes: what a job, a step, a call, a question and a worker look like outside.

Times are RFC 3339 UTC, durations milliseconds. Fields may be added; none changes its meaning.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import Raw

from aetheris_cli.domain import codec, ids
from aetheris_cli.domain import events as ev
from aetheris_cli.domain.events import Error
from aetheris_cli.domain.history import Attempt, History, Step
from aetheris_cli.domain.ids import JobId, StepId
from aetheris_cli.domain.records import JobRow, Question, WorkerRow
from aetheris_cli.domain.states import CONTRADICTED, ParkedReason
from aetheris_cli.ports.store import Facts

Shape = dict[str, Any]

FOR_A_PERSON: Final = frozenset(
    {
        ParkedReason.APPROVAL,
        ParkedReason.IN_DOUBT,
        ParkedReason.DIVERGED,
        ParkedReason.RESTORED,
        ParkedReason.PAUSED,
        ParkedReason.CRASH_LOOP,
        ParkedReason.BLOCKED_TOOL,
        ParkedReason.BUDGET,
    }
)
"""The reasons that only a person can lift."""
OF_A_CALL: Final = frozenset({"in_doubt", CONTRADICTED})
"""The kinds of questions that are about one call."""


def time(ms: int) -> str | None:
    """Write a time; 0 is none."""
    if not ms:
        return None
    at = datetime.fromtimestamp(ms / 1_000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def value(raw: Raw) -> Any:  # noqa: ANN401 - any JSON
    """Give the JSON value of stored bytes; none at all is None."""
    return codec.decode(bytes(raw)) if len(raw) else None


def error(found: Error | None) -> Shape | None:
    """Give an error as it was recorded."""
    if found is None:
        return None
    return {"kind": found.kind, "message": found.message, "type": found.type or None}


def job(facts: Facts) -> Shape:
    """Give a job."""
    row, first, end = facts.row, facts.first, facts.end
    submitted = first if isinstance(first, ev.JobSubmitted) else ev.JobSubmitted(agent=row.agent)
    failure: Shape | None = None
    if isinstance(end, ev.JobFailed):
        failure = error(end.error)
    elif isinstance(end, ev.JobCancelled):
        failure = {"kind": "cancelled", "message": end.reason, "type": None}
    return {
        "id": row.id,
        "agent": row.agent,
        "agent_version": row.version or submitted.version or None,
        "message": submitted.message,
        "input": value(submitted.input),
        "output": value(end.output) if isinstance(end, ev.JobSucceeded) else None,
        "error": failure,
        "status": str(row.status),
        "parked": _parked(row, facts.waits) if row.parked else None,
        "labels": dict(submitted.labels),
        "key": row.key or None,
        "queue": row.queue or None,
        "priority": row.priority,
        "parent_id": row.parent.partition(".")[0] or None,
        "retry_of": row.retry_of or None,
        "forked_from": None,
        "worker": row.worker or None,
        "epoch": row.epoch,
        "seq": row.seq,
        "created_at": time(row.created_at),
        "run_at": time(row.run_at),
        "started_at": time(row.started_at),
        "finished_at": time(row.finished_at),
    }


def _parked(row: JobRow, waits: Sequence[Question]) -> Shape:
    found = next((one for one in waits if one.kind == row.parked), None)
    step = found.step if found is not None else ""
    return {
        "reason": row.parked,
        "step": step or None,
        "call_id": _call(row.id, step) if row.parked == ParkedReason.IN_DOUBT else None,
        "approval_id": _approval(row.id, step) if row.parked == ParkedReason.APPROVAL else None,
        "since": time(found.since) if found is not None else None,
        "until": time(row.wake_at),
    }


def _call(job_id: str, step: str) -> str | None:
    return ids.call_id(JobId(job_id), StepId(step)) if step else None


def _approval(job_id: str, step: str) -> str | None:
    return ids.approval_id(JobId(job_id), StepId(step)) if step else None


def step(one: Step, job_id: str, level: int) -> Shape:
    """Give a step."""
    return {
        "id": one.id,
        "name": one.name,
        "kind": one.kind,
        "status": str(one.state),
        "after": list(one.after),
        "branch": one.id.rpartition(".")[0] or None,
        "level": level,
        "call_id": _call(job_id, one.id) if one.call is not None else None,
        "approval_id": _approval(job_id, one.id) if one.kind == "approval" else None,
        "child_id": one.child or None,
        "effect": one.effect or None,
        "input": value(one.args),
        "output": value(one.value),
        "error": error(one.error),
        "started_at": time(one.started_at),
        "finished_at": time(one.finished_at),
        "duration_ms": one.finished_at - one.started_at if one.finished_at else None,
        "attempts": [attempt(try_) for try_ in one.attempts],
    }


def attempt(one: Attempt) -> Shape:
    """Give one attempt of a call."""
    return {
        "n": one.n,
        "epoch": one.epoch,
        "worker": one.worker or None,
        "status": str(one.status),
        "started_at": time(one.started_at),
        "finished_at": time(one.finished_at),
        "error": error(one.error),
    }


def call(one: Step, job_id: str) -> Shape:
    """Give a line of the ledger."""
    settled = one.settled
    return {
        "id": _call(job_id, one.id),
        "job_id": job_id,
        "step": one.id,
        "tool": one.name,
        "effect": one.effect,
        "state": str(one.call),
        "key": one.key or None,
        "args": value(one.args),
        "args_digest": one.digest or None,
        "schema_digest": one.schema or None,
        "attempts": [attempt(try_) for try_ in one.attempts],
        "intended_at": time(one.first_intent_at),
        "finished_at": time(one.finished_at),
        "result": value(one.value),
        "error": error(one.error),
        "settled": {
            "as": settled.verdict,
            "by": settled.by,
            "reason": settled.reason,
            "at": time(settled.at),
        }
        if settled is not None
        else None,
        "evidence": [evidence(found) for found in one.evidence],
    }


def evidence(one: ev.CallEvidence) -> Shape:
    """Give an answer that came to a worker after it had lost the job."""
    return {
        "attempt": one.n,
        "worker": one.worker,
        "epoch": one.of_epoch,
        "result": value(one.result),
        "error": error(one.error),
        "contradicts": one.contradicts,
        "at": time(one.at),
    }


def levels(history: History) -> dict[str, int]:
    """Give each step's depth in the graph: 0 for those that come after nothing."""
    found: dict[str, int] = {}
    for one in history.steps.values():
        found[one.id] = 1 + max((found.get(before, 0) for before in one.after), default=-1)
    return found


def steps(history: History, job_id: str) -> list[Shape]:
    """Give all steps in the order in which they began."""
    depth = levels(history)
    return [step(one, job_id, depth[one.id]) for one in history.steps.values()]


def question(row: JobRow, one: Question) -> Shape:
    """Give what waits for a person, with the commands that answer it."""
    approval_id = _approval(row.id, one.step) if one.kind == "approval" else None
    call_id = _call(row.id, one.step) if one.kind in OF_A_CALL else None
    return {
        "id": approval_id or call_id or row.id,
        "kind": one.kind,
        "job_id": row.id,
        "agent": row.agent,
        "step": one.step or None,
        "call_id": call_id,
        "approval_id": approval_id,
        "title": one.title,
        "tool": one.name or None,
        "args": msgspec.json.decode(one.details) if one.details else None,
        "args_digest": one.digest or None,
        "schema_digest": one.schema or None,
        "role": one.role or None,
        "need": 1,
        "have": 0,
        "expires_at": time(one.until),
        "default": "deny" if one.until else None,
        "since": time(one.since),
        "owner_alive": None,
        "evidence": [],
        "commands": _commands(row, one, approval_id or call_id or ""),
        "seq": row.seq,
    }


def _commands(row: JobRow, one: Question, ident: str) -> list[str]:
    if one.kind == "approval":
        return [f"aetheris approve {ident}", f"aetheris reject {ident} --reason '…'"]
    if one.kind == "in_doubt":
        return [
            f"aetheris settle {ident} --happened '{{}}' --reason '…'",
            f"aetheris settle {ident} --did-not-happen --reason '…'",
            f"aetheris settle {ident} --fail --reason '…'",
        ]
    if one.kind == CONTRADICTED:
        return [f"aetheris settle {ident} --seen --reason '…'"]
    return [f"aetheris resume {row.id}"]


def worker(row: WorkerRow, *, alive: bool) -> Shape:
    """Give a worker."""
    return {
        "id": row.id,
        "status": row.status,
        "alive": alive,
        "host": row.host,
        "pid": row.pid,
        "concurrency": row.concurrency,
        "agents": row.agents.split(",") if row.agents else [],
        "started_at": time(row.started_at),
        "beat_at": time(row.beat_at),
    }


def event(one: ev.AnyEvent, job_id: str, prev: str, head: str) -> Shape:
    """Give an event with its place in the chain."""
    shape = ev.as_json(one, job_id, prev, head)
    shape["at"] = time(shape["at"])
    for name in _TIMES & shape["data"].keys():
        shape["data"][name] = time(shape["data"][name])
    return shape


_TIMES: Final = frozenset({"until", "run_at", "started_at", "next_at", "expires_at"})
