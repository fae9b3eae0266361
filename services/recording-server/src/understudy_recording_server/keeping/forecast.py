"""How long the disk still takes footage that may not be removed, at the measured rate. Pure."""

from __future__ import annotations

from collections import deque

WINDOW_S = 600.0
SAMPLE_EVERY_S = 2.0
SHORTEST_S = 10.0
"""A rate from less than this is no rate."""
WARN_HOURS = 24.0


class WriteRate:
    """Bytes a second over the last ten minutes, from a count that only grows. No clock of its own."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def note(self, at_s: float, total_bytes: int) -> None:
        """`total_bytes` were written in all until `at_s` (monotonic)."""
        if self._samples and total_bytes < self._samples[-1][1]:
            self._samples.clear()  # Other cameras: the count began anew.
        if self._samples and at_s - self._samples[-1][0] < SAMPLE_EVERY_S:
            return
        self._samples.append((at_s, total_bytes))
        while at_s - self._samples[0][0] > WINDOW_S:
            self._samples.popleft()

    @property
    def bytes_per_second(self) -> float | None:
        """None while it is not known yet."""
        if not self._samples:
            return None
        (first_s, first), (last_s, last) = self._samples[0], self._samples[-1]
        return (last - first) / (last_s - first_s) if last_s - first_s >= SHORTEST_S else None


def hours_left(free_bytes: int, minimum_free: int, rate: float | None) -> float | None:
    """Until `minimum_free` bytes are left; None when nothing is known to fill the disk."""
    if free_bytes <= minimum_free:
        return 0.0
    if rate is None or rate <= 0:
        return None
    return round((free_bytes - minimum_free) / rate / 3600, 2)


def warning(failover: str, hours: float | None, when_full: str) -> str | None:
    """What people must know of a failover server whose disk fills up with footage of `failover`."""
    if hours is None or hours > WARN_HOURS:
        return None
    then = "recording stops" if when_full == "stop" else "the oldest of it is let go"
    if hours <= 0:
        return f"the disk is full of footage of {failover} that has not come home: {then}"
    shown = f"{hours:.1f} hours" if hours >= 1 else f"{max(1, round(hours * 60))} minutes"
    return f"footage of {failover} fills the disk in {shown}; then {then}"
