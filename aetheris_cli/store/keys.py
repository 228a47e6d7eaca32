"""Operations on global keys. Who comes first holds a key; the others wait, or copy."""

from aetheris_cli.domain import ids
from aetheris_cli.domain.ids import JobId, StepId
from aetheris_cli.domain.keys import Claim, Held, Hold, Standing, standing
from aetheris_cli.domain.records import Question
from aetheris_cli.domain.states import ParkedReason
from aetheris_cli.store import jobs
from aetheris_cli.store.requests import Op, Q


def hold(claim: Claim, now: int) -> Op[Held]:
    """Let a call hold a key, unless another does.

    One transaction with what it is decided on: the owner's fence, the holder's history, and the
    note that this call waits, so that no wake-up is lost between them.
    """
    row = yield from jobs.by_no(claim.no)
    if (row.worker, row.epoch) != (claim.worker, claim.epoch):
        return Held(Hold.LOST)
    where = {"tool": claim.tool, "key": claim.key}
    found = yield Q("key_holder", where)
    ours = where | {"digest": claim.digest, "job_no": claim.no, "step": claim.step}
    if not found:
        yield Q("hold_key", ours)
        return Held(Hold.OURS)
    digest, job_no, step_id = found[0]
    if (job_no, step_id) != (claim.no, claim.step):
        other = yield from jobs.by_no(job_no)
        history = yield from jobs.whole(job_no)
        step = history.steps.get(step_id)
        how = standing(step, job_ended=history.ended is not None)
        if step is not None and (step.name, step.key) != (claim.tool, claim.key):
            how = Standing.FREE  # its code changed before it was sent, and calls something else
        call_id = ids.call_id(JobId(other.id), StepId(step_id))
        if how is not Standing.FREE and digest != claim.digest:
            return Held(Hold.CONFLICT, call_id)
        if how is Standing.DONE:
            return Held(Hold.DONE, call_id, step)
        if how is Standing.OPEN:
            title = f"call {call_id} holds the key {claim.key!r}"
            yield from jobs.put_question(
                claim.no,
                Question(
                    step=claim.step, kind=ParkedReason.GLOBAL_KEY, since=now, title=title,
                    name=claim.name,
                ),
            )  # fmt: skip
            return Held(Hold.WAIT, call_id)
    # Also where it was ours before: what has not been sent yet may have other arguments by now.
    yield Q("hold_key", ours)
    yield Q("answered", {"job_no": claim.no, "step": claim.step})
    return Held(Hold.OURS)
