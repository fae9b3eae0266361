"""What the recorder's crashes and refusals say about it: pure, on monotonic times in seconds."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from understudy_contracts.model import RecorderState

CRASHES = 3
WITHIN_S = 30.0
NOT_INSTALLED_STATUS = 69
INCOMPATIBLE_STATUS = 78
"""What the start ends with when the recorder cannot run (EX_UNAVAILABLE, EX_CONFIG of sysexits)."""
_REFUSALS = {
    NOT_INSTALLED_STATUS: RecorderState.NOT_INSTALLED,
    INCOMPATIBLE_STATUS: RecorderState.INCOMPATIBLE,
}


class Refusal(msgspec.Struct, frozen=True):
    """Why no recorder can run here at all."""

    state: RecorderState
    reason: str


def recent(crashes: Sequence[float], now: float) -> list[float]:
    """The crashes that still count."""
    return [at for at in crashes if now - at < WITHIN_S]


def refusal_of(status: int | None, said: str) -> Refusal | None:
    """What a recorder that ended with `status` refuses; None when it simply ended."""
    state = _REFUSALS.get(status) if status is not None else None
    return (
        None if state is None else Refusal(state, said or f"the recorder's start ended with status {status}")
    )


def recorder_state(
    crashes: Sequence[float],
    now: float,
    *,
    disabled: str | None = None,
    refusal: Refusal | None = None,
    hangs: bool = False,
) -> RecorderState:
    """What people switched off comes before what does not work.

    Crashing is after three crashes within half a minute, until one of them is that long ago, and while it
    hangs: it will be killed, if it does not go on.
    """
    if disabled is not None:
        return RecorderState.DISABLED
    if refusal is not None:
        return refusal.state
    crashing = hangs or len(recent(crashes, now)) >= CRASHES
    return RecorderState.CRASHING if crashing else RecorderState.RUNNING
