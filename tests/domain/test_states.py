"""The state tables against the moves that the specification spells out."""

from enum import StrEnum

import pytest

from aetheris_cli.domain import states

SPEC = [
    (states.JOB, "queued", "running parked cancelled"),
    (states.JOB, "running", "parked queued succeeded failed cancelled"),
    (states.JOB, "parked", "queued parked cancelled failed"),
    (states.STEP, "pending", "ready skipped cancelled"),
    (states.STEP, "ready", "running skipped cancelled"),
    (states.STEP, "running", "waiting succeeded failed cancelled"),
    (states.STEP, "waiting", "running failed cancelled"),
    (states.CALL, "intended", "succeeded failed in_doubt"),
    (states.CALL, "in_doubt", "succeeded failed intended"),
    (states.ATTEMPT, "sent", "succeeded not_sent refused failed unknown"),
]
TABLES = [states.JOB, states.STEP, states.CALL, states.ATTEMPT]
Table = dict[StrEnum, frozenset[StrEnum]]


@pytest.mark.parametrize(("table", "old", "following"), SPEC)
def test_the_moves_are_those_of_the_specification(table: Table, old: str, following: str) -> None:
    moves = {str(state): after for state, after in table.items()}
    assert moves[old] == set(following.split())


@pytest.mark.parametrize("table", TABLES)
def test_every_state_has_a_row_and_each_move_is_legal_or_raises(table: Table) -> None:
    kind = type(next(iter(table)))
    assert set(table) == set(kind)
    for old in kind:
        for new in kind:
            if new in table[old]:
                assert states.advance(table, old, new) is new
            else:
                with pytest.raises(states.IllegalTransition, match=f"from {old} to {new}"):
                    states.advance(table, old, new)


def test_terminal_states() -> None:
    assert {"succeeded", "failed", "cancelled"} == states.JOB_ENDED
    assert {"succeeded", "failed", "skipped", "cancelled"} == states.STEP_ENDED
    assert {"succeeded", "failed"} == states.CALL_ENDED
    assert {"succeeded", "not_sent", "refused", "failed", "unknown"} == states.ATTEMPT_ENDED
