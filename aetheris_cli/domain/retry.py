"""Durations as people write them, and how long to wait before the next attempt."""

import math
import re
import sys
from typing import Final

import msgspec

from aetheris_cli.domain.errors import UsageError

_UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?", re.ASCII)
_LONGEST_MS: Final = 366 * 100 * 86_400_000


def duration_ms(value: str | float, what: str = "the duration") -> int:
    """Read `30s`, `1.5h`, `250ms`, or a number of seconds, as milliseconds.

    Raises UsageError for anything else, negative values, and more than a hundred years.
    """
    ms = _read_ms(value)
    if math.isnan(ms) or ms < 0:
        raise UsageError(
            f"{what} {_show(value)} is not a duration",
            why="a duration is a number and one of ms, s, m, h, d",
            fix="write for example 30s, 5m or 1.5h",
        )
    if ms > _LONGEST_MS:
        raise UsageError(f"{what} {_show(value)} is too long", why="the limit is 100 years")
    return round(ms)


def _read_ms(value: str | float) -> float:
    """Give milliseconds, possibly infinite or negative; NaN when `value` is not a duration."""
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip())
        return float(match[1]) * _UNITS_MS[match[2] or "s"] if match else math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    # Beyond this any number is too long; a large integer would not fit a float.
    return 1_000 * float(max(-_LONGEST_MS, min(value, _LONGEST_MS)))


def _show(value: str | float) -> str:
    if isinstance(value, int) and abs(value) > _LONGEST_MS:
        return f"of {value.bit_length()} bits"  # Python refuses to print very long integers
    return repr(str(value)[:80])


class Retry(msgspec.Struct, frozen=True):
    """How often a call is tried, and how long to wait in between.

    `max` counts all attempts. The wait before attempt n + 1 is drawn between zero and
    `base * factor ** (n - 1)`, at most `cap` (full jitter; Brooker, AWS Architecture Blog, 2015).
    Times are seconds.
    """

    max: int = 1
    base: float = 0.5
    factor: float = 2.0
    cap: float = 60.0

    def __post_init__(self) -> None:
        times = (self.base, self.factor, self.cap)
        numbers = isinstance(self.max, int) and all(isinstance(one, int | float) for one in times)
        if (
            not numbers
            or not all(map(math.isfinite, times))
            or self.max < 1
            or self.base < 0
            or self.factor < 1
            or self.cap < 0
        ):
            raise UsageError(
                f"{self} is not a retry policy",
                why="max is at least 1, base and cap at least 0, factor at least 1, all finite",
            )

    def wait_ms(self, attempts_made: int, chance: float) -> int:
        """Give the wait after `attempts_made` attempts; `chance` is uniform in [0, 1)."""
        try:
            growth = float(self.factor) ** (attempts_made - 1)
        except OverflowError:
            growth = sys.float_info.max
        ceiling_ms = 1_000 * min(self.cap, self.base * growth)
        return round(min(ceiling_ms, _LONGEST_MS) * chance)
