"""Time, injected: decisions never look at a clock of their own."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two kinds of time. They must not be mixed: the wall clock may jump, the monotonic one never does."""

    def wall_ms(self) -> int:
        """UTC in milliseconds since 1970, for people and for names of files."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment, for every duration and every age."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()


class ManualClock:
    """A clock that tests move: `advance` moves both kinds of time, `step_wall` only the wall clock."""

    def __init__(self, wall_ms: int = 1_800_000_000_000, monotonic: float = 1000.0) -> None:
        self._wall_ms = wall_ms
        self._monotonic = monotonic

    def wall_ms(self) -> int:
        return self._wall_ms

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        self._monotonic += seconds
        self._wall_ms += round(seconds * 1000)

    def step_wall(self, seconds: float) -> None:
        self._wall_ms += round(seconds * 1000)
