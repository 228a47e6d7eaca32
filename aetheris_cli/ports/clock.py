"""Time and chance: the only seam through which the runtime gets either."""

import secrets
import time
from typing import Protocol


class Clock(Protocol):
    """What the runtime needs of the world's clocks and dice."""

    def now_ms(self) -> int:
        """Give the wall time, milliseconds since 1970 UTC."""

    def boot_ms(self) -> int:
        """Give the time since the host's boot, sleep included; it never jumps."""

    def chance(self, size: int) -> bytes:
        """Give random bytes."""

    def roll(self) -> float:
        """Give a random number in [0, 1)."""


class SystemClock:
    """The clocks and dice of the operating system."""

    def now_ms(self) -> int:
        """Give the wall time, milliseconds since 1970 UTC."""
        return time.time_ns() // 1_000_000

    def boot_ms(self) -> int:
        """Give the time since the host's boot, sleep included where the system can tell."""
        clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
        return time.clock_gettime_ns(clock) // 1_000_000

    def chance(self, size: int) -> bytes:
        """Give random bytes."""
        return secrets.token_bytes(size)

    def roll(self) -> float:
        """Give a random number in [0, 1)."""
        return secrets.randbelow(1 << 53) / (1 << 53)
