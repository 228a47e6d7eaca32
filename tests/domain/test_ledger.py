"""The ledger's tables, walked cell by cell against the specification."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetheris_cli.domain import ledger, states
from aetheris_cli.domain.ledger import Effect, Raised, Seen

RECOVERY = [
    ("nothing", "pure", "run"),
    ("nothing", "key", "run"),
    ("nothing", "probe", "run"),
    ("nothing", "unsafe", "run"),
    ("intent", "pure", "rerun"),
    ("intent", "key", "resend"),
    ("intent", "probe", "probe"),
    ("intent", "unsafe", "in_doubt"),
    ("result", "pure", "reuse"),
    ("result", "key", "reuse"),
    ("result", "probe", "reuse"),
    ("result", "unsafe", "reuse"),
]
# How the dispatch ended, effect class, first attempt, after an attempt that ended unknown.
OUTCOME = [
    ("not_sent", "pure", "not_sent retry", "not_sent retry"),
    ("not_sent", "key", "not_sent retry", "not_sent resend"),
    ("not_sent", "probe", "not_sent retry", "not_sent probe"),
    ("not_sent", "unsafe", "not_sent retry", "not_sent in_doubt"),
    ("refused", "pure", "refused fail", "refused fail"),
    ("refused", "key", "refused fail", "unknown in_doubt"),
    ("refused", "probe", "refused fail", "unknown in_doubt"),
    ("refused", "unsafe", "refused fail", "unknown in_doubt"),
    ("other", "pure", "failed retry", "failed retry"),
    ("other", "key", "unknown resend", "unknown resend"),
    ("other", "probe", "unknown probe", "unknown probe"),
    ("other", "unsafe", "unknown in_doubt", "unknown in_doubt"),
]
times = st.integers(0, 2**50)


def test_the_tables_and_the_lists_above_are_total() -> None:
    recovery, outcome = set(product(Seen, Effect)), set(product(Raised, Effect))
    assert set(ledger.RECOVERY) == recovery == {(seen, effect) for seen, effect, _ in RECOVERY}
    assert set(ledger.OUTCOME) == outcome == {(raised, effect) for raised, effect, *_ in OUTCOME}


@pytest.mark.parametrize(("seen", "effect", "action"), RECOVERY)
def test_recovery(seen: str, effect: str, action: str) -> None:
    assert ledger.RECOVERY[Seen(seen), Effect(effect)] == action


@pytest.mark.parametrize(("raised", "effect", "first", "after_unknown"), OUTCOME)
def test_the_end_of_an_attempt(raised: str, effect: str, first: str, after_unknown: str) -> None:
    cell = Raised(raised), Effect(effect)
    assert " ".join(ledger.OUTCOME[cell]) == first
    assert " ".join(ledger.judge(*cell, earlier_unknown=False)) == first
    assert " ".join(ledger.judge(*cell, earlier_unknown=True)) == after_unknown


@pytest.mark.parametrize("effect", [effect for effect in Effect if effect.effectful])
@pytest.mark.parametrize("raised", Raised)
def test_after_an_unknown_attempt_no_bad_end_settles_the_call(
    raised: Raised, effect: Effect
) -> None:
    _, following = ledger.judge(raised, effect, earlier_unknown=True)
    assert following not in {"retry", "fail"}


def test_every_outcome_is_an_end_that_an_attempt_may_have() -> None:
    for state, _ in ledger.OUTCOME.values():
        assert state in states.ATTEMPT_ENDED
        assert states.advance(states.ATTEMPT, states.AttemptState.SENT, state) is state


def test_only_pure_calls_go_without_an_intent() -> None:
    assert [effect for effect in Effect if not effect.effectful] == ["pure"]


@pytest.mark.parametrize("table", [ledger.RECOVERY, ledger.OUTCOME])
def test_nobody_can_change_a_table(table: dict[object, object]) -> None:
    with pytest.raises(TypeError):
        table[next(iter(table))] = None


@given(times, times, times)
def test_a_key_lives_until_its_margin_and_not_a_millisecond_more(
    intent: int, ttl: int, margin: int
) -> None:
    dead = intent + ttl - margin
    assert ledger.may_resend(dead - 1, intent, ttl, margin)
    assert not ledger.may_resend(dead, intent, ttl, margin)


@given(times, times)
def test_a_key_without_a_declared_lifetime_is_never_sent_again(now: int, intent: int) -> None:
    assert not ledger.may_resend(now, intent, None, 0)


def test_a_lifetime_shorter_than_the_margin_is_none_at_all() -> None:
    assert not ledger.may_resend(0, 0, ledger.KEY_MARGIN_MS, ledger.KEY_MARGIN_MS)


@pytest.mark.parametrize("max_time", [0, 1, 30_000])
@pytest.mark.parametrize(
    ("dead", "gone", "declared", "passed"), list(product([True, False], repeat=4))
)
def test_a_no_is_trusted_when_all_four_conditions_hold_and_only_then(
    *, dead: bool, gone: bool, declared: bool, passed: bool, max_time: int
) -> None:
    trusted = ledger.may_trust_no(
        owner_dead=dead,
        children_gone=gone,
        now_ms=1_000 + max_time - (0 if passed else 1),
        last_intent_ms=1_000,
        max_time_ms=max_time if declared else None,
    )
    assert trusted == (dead and gone and declared and passed)


@given(times)
def test_no_length_of_waiting_replaces_a_dead_owner(now: int) -> None:
    assert not ledger.may_trust_no(
        owner_dead=False, children_gone=True, now_ms=now, last_intent_ms=0, max_time_ms=0
    )
