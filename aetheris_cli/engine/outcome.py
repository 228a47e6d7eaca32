"""From a recorded step to what the agent's code receives. The same for live, resume and replay."""

from typing import Any

import msgspec

from aetheris_cli.domain import codec
from aetheris_cli.domain.errors import CallFailed, TimedOut
from aetheris_cli.domain.history import Step
from aetheris_cli.domain.states import StepState


class Decision(msgspec.Struct, frozen=True):
    """What became of an approval."""

    approved: bool
    value: Any = None
    by: str = ""
    comment: str = ""


def outcome(job: str, step: Step) -> tuple[Any, BaseException | None]:
    """Give the value or the exception that the step's recorded outcome means to the agent."""
    if step.kind == "approval":
        value = codec.decode(bytes(step.value)) if len(step.value) else None
        return Decision(step.approved, value, step.by, step.comment), None
    if step.kind == "signal" and step.state is StepState.FAILED:
        return None, TimedOut(f"no signal {step.name!r} came in time", call_id=f"{job}.{step.id}")
    if step.state is StepState.FAILED:
        error = msgspec.to_builtins(step.error) if step.error is not None else None
        words = step.error.message if step.error is not None else ""
        if step.settled is not None and step.settled.verdict == "fail":
            words = f"settled as failed by {step.settled.by}: {step.settled.reason}"
        return None, CallFailed(
            f"{step.kind} {step.name} failed: {words}",
            call_id=step.child or f"{job}.{step.id}",
            error=error,
        )
    if step.kind == "timer" or not len(step.value):
        return None, None
    return codec.decode(bytes(step.value)), None
