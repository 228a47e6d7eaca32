"""What the history of one job says of other rows: other jobs, its worker, global keys."""

from collections.abc import Iterable
from typing import Any, Final

from aetheris_cli.domain import ids
from aetheris_cli.domain.history import Step
from aetheris_cli.domain.ids import CallId, JobId, StepId
from aetheris_cli.domain.keys import Standing, standing
from aetheris_cli.domain.ledger import Effect
from aetheris_cli.domain.projection import Projection
from aetheris_cli.domain.states import JOB_ENDED
from aetheris_cli.store.check_inbox import Inbox
from aetheris_cli.store.check_rows import exists
from aetheris_cli.store.findings import Finding, Findings, differs, same, shown

Conn = Any
_HOLDER: Final = "SELECT job_no, step, digest FROM global_keys WHERE tool = ? AND key = ?"


def kin(conn: Conn, row: dict[str, Any], wanted: Projection, inbox: Inbox) -> Findings:
    """Check the jobs that this one names: its parent, its children, the one it repeats."""
    name, first = row["id"], wanted.history.submitted
    if first is None:
        return
    if first.parent:
        if ids.child_id(CallId(first.parent)) != name:
            yield Finding(name, "it is not the child that its parent's call names", first.parent)
        if not exists(conn, first.parent.partition(".")[0]):
            yield Finding(name, "its parent is missing", "nothing", first.parent)
    if first.retry_of and not exists(conn, first.retry_of):
        yield Finding(name, "the job that it repeats is missing", "nothing", first.retry_of)
    for step in wanted.history.steps.values():
        if step.child:
            yield from _child(conn, name, step.id, step.child, wanted, inbox)


def _child(
    conn: Conn, name: str, step: str, child: str, wanted: Projection, inbox: Inbox
) -> Findings:
    found = conn.execute("SELECT status, parent FROM jobs WHERE id = ?", (child,)).fetchone()
    if found is None:
        yield Finding(name, f"the child of step {step} is missing", "nothing", child)
        return
    status, parent = found
    call = ids.call_id(JobId(name), StepId(step))
    if parent != call:
        yield differs(name, f"the parent of child {child}", parent, call)
    told = wanted.told.get(step)
    if told is not None and told != status:
        yield differs(name, f"the status of child {child}", status, told)
    owed = told is None and wanted.history.ended is None and status in JOB_ENDED
    if owed and not inbox.unread("child", step):
        yield Finding(name, f"the end of child {child} is not told", "nothing", str(status))


def owner(conn: Conn, name: str, wanted: Projection) -> Findings:
    """Check that a job with an owner will be taken over when that dies: it holds a lease."""
    worker = wanted.history.worker
    if worker:
        found = conn.execute("SELECT status FROM workers WHERE id = ?", (worker,)).fetchone()
        if found is None or found[0] != "alive":
            what = f"the lease of its worker {shown(worker)}"
            yield differs(name, what, found and found[0], "alive")


def keys(
    conn: Conn, row: dict[str, Any], rows: Iterable[tuple[Any, ...]], wanted: Projection
) -> Findings:
    """Check the global keys that the job's calls hold, and those that they must hold.

    A call takes its key before it leaves an event. So a key may be held by a place at which the
    history has nothing yet, or, when the code has changed since, something else.
    """
    name, steps = row["id"], wanted.history.steps
    for tool, key, step_id in rows:
        step, place = steps.get(step_id), _key_place(tool, key)
        if not wanted.history.epoch:
            yield Finding(name, f"{place} is held by a job that never ran", shown(step_id))
        elif step is not None and (step.name, step.key) == (tool, key) and not step.attempts:
            yield Finding(name, f"{place} is held by a call that was never sent", shown(step_id))
    for step in steps.values():
        if step.key and step.effect != Effect.PURE and step.attempts:
            yield from _held(conn, row, step, wanted)


def _held(conn: Conn, row: dict[str, Any], step: Step, wanted: Projection) -> Findings:
    """Check that a call which was sent holds its key, unless it has given it free."""
    place = _key_place(step.name, step.key)
    found = conn.execute(_HOLDER, (step.name, step.key)).fetchone()
    if found is None:
        yield Finding(row["id"], f"{place} is missing", "nothing", f"step {step.id}")
        return
    ended = wanted.history.ended is not None
    if found[:2] == (row["no"], step.id):
        if not same(found[2], step.digest):
            yield differs(row["id"], f"{place}: digest", found[2], step.digest)
    elif standing(step, job_ended=ended) is not Standing.FREE:
        stored = f"job number {shown(found[0])}, step {shown(found[1])}"
        yield differs(row["id"], f"{place}: holder", stored, f"step {step.id} of this job")


def _key_place(tool: object, key: object) -> str:
    return f"the global key {shown(key)} of {shown(tool)}"
