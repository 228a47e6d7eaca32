"""The ledger's decisions as data: what recovery does, and what the end of an attempt means.

Both tables are total: every effect class has a row for every situation, and the tests walk
all of them. No other place decides whether a call may be sent again.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from aetheris_cli.domain.states import AttemptState


class Effect(StrEnum):
    """What it means to send a call twice. The default of an undeclared tool is `unsafe`."""

    PURE = "pure"
    KEY = "key"
    PROBE = "probe"
    UNSAFE = "unsafe"

    @property
    def effectful(self) -> bool:
        """Whether an intent must be durable before an attempt starts."""
        return self is not Effect.PURE


class OnInDoubt(StrEnum):
    """What an unknown outcome does to the job."""

    PARK = "park"
    FAIL = "fail"


class Seen(StrEnum):
    """What a recovering worker finds in the history about a call."""

    NOTHING = "nothing"
    INTENT = "intent"
    RESULT = "result"


class Recovery(StrEnum):
    """What a recovering worker does about it."""

    RUN = "run"
    RERUN = "rerun"
    RESEND = "resend"
    PROBE = "probe"
    IN_DOUBT = "in_doubt"
    REUSE = "reuse"


_P, _K, _Q, _U = Effect.PURE, Effect.KEY, Effect.PROBE, Effect.UNSAFE

RECOVERY: Final[Mapping[tuple[Seen, Effect], Recovery]] = MappingProxyType(
    {
        **{(Seen.NOTHING, effect): Recovery.RUN for effect in Effect},
        **{(Seen.RESULT, effect): Recovery.REUSE for effect in Effect},
        (Seen.INTENT, _P): Recovery.RERUN,
        (Seen.INTENT, _K): Recovery.RESEND,
        (Seen.INTENT, _Q): Recovery.PROBE,
        (Seen.INTENT, _U): Recovery.IN_DOUBT,
    }
)


class Raised(StrEnum):
    """How a dispatch ended when it did not return a result."""

    NOT_SENT = "not_sent"
    REFUSED = "refused"
    OTHER = "other"


class Next(StrEnum):
    """What follows an attempt that did not succeed."""

    RETRY = "retry"
    """A new attempt, if the retry policy has one left, else the call fails."""
    RESEND = "resend"
    """A new attempt with the same key and bytes within the key's lifetime, else in doubt."""
    PROBE = "probe"
    """Ask the provider, after quarantine; without an answer in doubt."""
    FAIL = "fail"
    IN_DOUBT = "in_doubt"


_A = AttemptState

OUTCOME: Final[Mapping[tuple[Raised, Effect], tuple[AttemptState, Next]]] = MappingProxyType(
    {
        **{(Raised.NOT_SENT, effect): (_A.NOT_SENT, Next.RETRY) for effect in Effect},
        **{(Raised.REFUSED, effect): (_A.REFUSED, Next.FAIL) for effect in Effect},
        (Raised.OTHER, _P): (_A.FAILED, Next.RETRY),
        (Raised.OTHER, _K): (_A.UNKNOWN, Next.RESEND),
        (Raised.OTHER, _Q): (_A.UNKNOWN, Next.PROBE),
        (Raised.OTHER, _U): (_A.UNKNOWN, Next.IN_DOUBT),
    }
)


def judge(raised: Raised, effect: Effect, *, earlier_unknown: bool) -> tuple[AttemptState, Next]:
    """Say what an attempt's end was and what follows.

    `earlier_unknown`: an attempt before this one ended unknown. Then a refusal of the resend
    proves nothing about the first one, so it is unknown too, and nothing but success, an
    authoritative probe or a person may end the call.
    """
    state, following = OUTCOME[raised, effect]
    if not earlier_unknown or not effect.effectful:
        return state, following
    if raised is Raised.REFUSED:
        return _A.UNKNOWN, Next.IN_DOUBT
    if raised is Raised.NOT_SENT:
        # Nothing of this attempt went out; the earlier one is still open.
        return state, OUTCOME[Raised.OTHER, effect][1]
    return state, following


def may_resend(now_ms: int, first_intent_ms: int, key_ttl_ms: int | None, margin_ms: int) -> bool:
    """Say whether a key-class call is still within its key's declared lifetime."""
    return key_ttl_ms is not None and now_ms < first_intent_ms + key_ttl_ms - margin_ms


KEY_MARGIN_MS: Final = 5_000
"""Clocks differ and a request takes time: a key this close to its end counts as dead."""


def may_trust_no(
    *,
    owner_dead: bool,
    children_gone: bool,
    now_ms: int,
    last_intent_ms: int,
    max_time_ms: int | None,
) -> bool:
    """Say whether a probe's "no" may cause a new attempt (the quarantine rule).

    A time-out never proves that the former owner is dead. All four must hold: its lock is
    free, no process of the call survives, the tool declares how long a request can last,
    and that time has passed since the latest intent.
    """
    if max_time_ms is None:
        return False
    return owner_dead and children_gone and now_ms >= last_intent_ms + max_time_ms
