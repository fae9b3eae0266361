"""What the recorder's crashes say about it: pure, on monotonic times in seconds."""

from __future__ import annotations

from collections.abc import Sequence

from understudy_contracts.model import RecorderState

CRASHES = 3
WITHIN_S = 30.0


def recent(crashes: Sequence[float], now: float) -> list[float]:
    """The crashes that still count."""
    return [at for at in crashes if now - at < WITHIN_S]


def recorder_state(crashes: Sequence[float], now: float) -> RecorderState:
    """Crashing after three crashes within half a minute, until one of them is that long ago."""
    return RecorderState.CRASHING if len(recent(crashes, now)) >= CRASHES else RecorderState.RUNNING
