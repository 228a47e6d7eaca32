"""Where an event came from: the wish that became it, as its maker must have written it.

The inverse of `wishes.take`. Wishes are kept for ever, so each such event has its row in the
inbox; `store check` holds the two against each other.
"""

from typing import Final

from aetheris_cli.domain import events as ev
from aetheris_cli.domain import wishes
from aetheris_cli.domain.changes import Delivery
from aetheris_cli.domain.events import AnyEvent
from aetheris_cli.domain.states import ParkedReason

TRACED: Final = frozenset({"cancel", "decide", "signal", "settle", "child", "evidence"})
"""The kinds of wishes of which each becomes an event that says all of it."""
IN_ORDER: Final = TRACED - {"cancel"}
"""Those of them that are taken in the order in which they arrived: a cancel ends the job last."""
_BRINGS: Final = (
    ev.ApprovalDecided, ev.SignalReceived, ev.CallSettled, ev.CallEvidence, ev.ChildFinished
)  # fmt: skip
FAINT: Final = frozenset({"pause", "resume", "key"})
"""Those that may leave nothing behind: what they want may be so already."""


def brings_value(event: AnyEvent) -> bool:
    """Whether it may hold a value that its wish brought."""
    return isinstance(event, _BRINGS)


def origin(job: str, event: AnyEvent) -> Delivery | None:  # noqa: PLR0911 - one for each kind
    """Give the wish that `event` came from, None when it came from none.

    Values that are kept outside the event must have been put back in place. A settlement's
    `dedupe` is empty here: it names a question that the event does not.
    """
    match event:
        case ev.JobCancelled():
            return wishes.cancel(job, event.actor, event.reason)
        case ev.ApprovalDecided(by_expiry=False):
            return wishes.decide(
                job, event.step, event.actor,
                approved=event.approved, value=event.value, comment=event.comment,
            )  # fmt: skip
        case ev.SignalReceived():
            return wishes.signal(job, event.name, event.value, event.actor, event.key)
        case ev.CallSettled():
            return wishes.settle(
                job, event.step, event.actor,
                verdict=event.verdict, result=event.result, reason=event.reason,
            )  # fmt: skip
        case ev.CallEvidence():
            return wishes.evidence(
                job, event.step, n=event.n, worker=event.worker, epoch=event.of_epoch,
                result=event.result, error=event.error,
            )  # fmt: skip
        case ev.ChildFinished():
            return wishes.child_ended(
                job, event.step, event.child, event.status, event.output, event.error
            )
        case ev.JobParked(reason=ParkedReason.PAUSED):
            return wishes.pause(job, event.actor)
        case ev.JobQueued(reason="resumed"):
            return wishes.resume(job, "")
        case ev.JobQueued(reason="global_key"):
            return wishes.key_freed(job, "")
        case _:
            return None
