"""Durations as people write them, and waits that are bounded and never overflow."""

import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetheris_cli.domain.errors import UsageError
from aetheris_cli.domain.retry import Retry, duration_ms

UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "": 1_000}
CENTURY_DAYS = 36_600


def short(value: object) -> str:
    return f"{value.bit_length()} bits" if isinstance(value, int) else ascii(value)[:20]


policies = st.builds(
    Retry,
    max=st.integers(1, 1_000),
    base=st.floats(0, 1e308),
    factor=st.floats(1, 1e308),
    cap=st.floats(0, 1e308),
)


@pytest.mark.parametrize(
    ("value", "ms"),
    [
        ("30s", 30_000),
        ("1.5h", 5_400_000),
        ("250ms", 250),
        ("5", 5_000),
        (" 2m ", 120_000),
        ("0", 0),
        (0, 0),
        (90, 90_000),
        (0.25, 250),
        (1e-5, 0),
        (f"{CENTURY_DAYS}d", CENTURY_DAYS * 86_400_000),
    ],
)
def test_durations(value: str | float, ms: int) -> None:
    assert duration_ms(value) == ms


@given(st.integers(0, CENTURY_DAYS), st.sampled_from(list(UNITS)))
def test_a_number_and_a_unit(number: int, unit: str) -> None:
    assert duration_ms(f"{number}{unit}") == number * UNITS[unit]


@given(st.floats(0, CENTURY_DAYS * 86_400))
def test_a_number_counts_seconds_to_the_nearest_millisecond(seconds: float) -> None:
    assert abs(duration_ms(seconds) - seconds * 1_000) <= 0.5


@pytest.mark.parametrize(
    "value",
    [
        *[
            "",
            " ",
            "s",
            "-1s",
            "+1s",
            "1 s",
            "1S",
            "1w",
            "1h30m",
            "1.s",
            ".5s",
            "1e3",
            "0x1",
            "1_0",
        ],
        *["1,5s", "٣s", "1s\0", "nan", "inf", "\ud800"],
        *[-1, -0.001, math.nan, math.inf, -math.inf, True, False, -(10**5_000)],
    ],
    ids=short,
)
def test_anything_else_is_refused(value: str | float) -> None:
    with pytest.raises(UsageError, match=r"^the wait .* is (not a duration|too long)") as caught:
        duration_ms(value, "the wait")
    str(caught.value).encode()


@pytest.mark.parametrize(
    "value",
    [f"{CENTURY_DAYS + 1}d", "9" * 400, "9" * 5_000 + "ms", 10**400, 10**5_000, 1e16, 1e308],
    ids=short,
)
def test_more_than_a_century_is_too_long(value: str | float) -> None:
    with pytest.raises(UsageError, match="too long") as caught:
        duration_ms(value)
    assert len(caught.value.message) < 130


@given(st.text())
def test_noise_is_read_or_refused_and_nothing_else(text: str) -> None:
    with suppress(UsageError):
        assert duration_ms(text) >= 0


def test_the_ceiling_doubles_up_to_the_cap() -> None:
    policy = Retry(max=9, base=1, factor=2, cap=10)
    assert [policy.wait_ms(n, 0.5) for n in range(1, 7)] == [500, 1_000, 2_000, 4_000, 5_000, 5_000]
    assert policy.wait_ms(6, 0.0) == 0


@given(policies, st.integers(1, 10**6), st.floats(0, 1, exclude_max=True))
def test_a_wait_is_never_negative_nor_beyond_the_cap_or_a_century(
    policy: Retry, made: int, chance: float
) -> None:
    limit = min(policy.cap * 1_000, CENTURY_DAYS * 86_400_000)
    assert 0 <= policy.wait_ms(made, chance) <= limit + 0.5


@given(policies, st.integers(1, 200), st.floats(0, 1, exclude_max=True))
def test_later_waits_are_never_shorter(policy: Retry, made: int, chance: float) -> None:
    assert policy.wait_ms(made, chance) <= policy.wait_ms(made + 1, chance)


def test_no_base_means_no_wait_however_large_the_factor() -> None:
    assert Retry(base=0, factor=1e300).wait_ms(10**6, 0.9) == 0
    assert Retry(factor=2).wait_ms(10**6, 0.5) == 30_000


@pytest.mark.parametrize(
    "bad",
    [
        {"max": 0},
        {"base": -1},
        {"factor": 0.5},
        {"cap": -1},
        *[{name: value} for name in ("base", "factor", "cap") for value in (math.nan, math.inf)],
    ],
    ids=str,
)
def test_a_policy_that_makes_no_sense_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="is not a retry policy"):
        Retry(**bad)  # type: ignore[arg-type]


def test_one_attempt_is_the_default() -> None:
    assert Retry().max == 1
