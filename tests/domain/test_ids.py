"""Ids: their shape, that they sort by age, and that derived ids are the same at every re-run."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetheris_cli.domain import ids
from aetheris_cli.domain.errors import UsageError
from aetheris_cli.domain.ids import CallId, JobId, StepId

SHAPE = re.compile(r"job_[0-9a-hjkmnp-tv-z]{26}")
times = st.integers(0, 2**48 - 1)
chances = st.binary(min_size=ids.CHANCE_BYTES, max_size=ids.CHANCE_BYTES)
jobs = st.builds(lambda now, chance: JobId(ids.make("job", now, chance)), times, chances)
steps = st.lists(st.integers(0, 999), min_size=1, max_size=5).map(
    lambda places: StepId(".".join(map(str, places)))
)


@given(times, chances, times, chances)
def test_ids_sort_by_time_then_chance_and_are_distinct(
    now: int, chance: bytes, later: int, other: bytes
) -> None:
    one, two = ids.make("job", now, chance), ids.make("job", later, other)
    assert SHAPE.fullmatch(one)
    assert (one < two) == ((now, chance) < (later, other))
    assert (one == two) == ((now, chance) == (later, other))


def test_known_ids() -> None:
    assert ids.make("job", 0, bytes(10)) == "job_" + "0" * 26
    assert ids.make("w", 33, b"\xff" * 10) == "w_0000000011" + "z" * 16


@given(jobs, steps)
def test_call_and_approval_ids_come_apart_as_they_were_built(job: JobId, step: StepId) -> None:
    assert ids.split_call(ids.call_id(job, step)) == (job, step)
    assert ids.split_call(ids.approval_id(job, step)) == (job, step)
    assert str(ids.call_id(job, step)) != ids.approval_id(job, step)


@pytest.mark.parametrize("text", ["", ".", "job_1", "job_1.", ".1", "..", "apr_1", "\ud800" * 99])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not the id") as caught:
        ids.split_call(text)
    str(caught.value).encode()


@given(jobs, steps, steps)
def test_a_child_is_the_same_at_every_run_and_another_for_each_call(
    job: JobId, step: StepId, other: StepId
) -> None:
    child = ids.child_id(ids.call_id(job, step))
    assert SHAPE.fullmatch(child)
    assert child[:14] == job[:14]
    assert child != job
    assert (child == ids.child_id(ids.call_id(job, other))) == (step == other)


def test_the_derivation_of_a_child_never_changes() -> None:
    call = CallId("job_" + "0" * 26 + ".3.0.1")
    assert ids.child_id(call) == "job_00000000006m95333fcfdpv6p7"
