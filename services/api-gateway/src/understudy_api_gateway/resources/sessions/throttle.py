"""How often a password may be tried: after some failures in a row, ever longer pauses for that user."""

from __future__ import annotations

from collections import OrderedDict

FREE_FAILURES = 5
LONGEST_PAUSE_S = 60.0
_REMEMBERED = 10_000


def pause_after(failures: int) -> float:
    """Seconds to wait after this many failures in a row."""
    if failures < FREE_FAILURES:
        return 0.0
    return min(LONGEST_PAUSE_S, 2.0 ** min(failures - FREE_FAILURES, 10))


class Throttle:
    """Failures in a row per user name, of the last ten thousand names; `now` in monotonic seconds."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait_s(self, name: str, now: float) -> float:
        """How long `name` must still wait; 0 when it may try."""
        failures, last = self._failures.get(name, (0, now))
        return max(0.0, last + pause_after(failures) - now)

    def failed(self, name: str, now: float) -> None:
        failures, _ = self._failures.pop(name, (0, now))
        self._failures[name] = (failures + 1, now)
        if len(self._failures) > _REMEMBERED:
            self._failures.popitem(last=False)

    def succeeded(self, name: str) -> None:
        self._failures.pop(name, None)
