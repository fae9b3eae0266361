"""Which commands come too late: pure decisions on (epoch, step) (house.md, Epochs; promise P2)."""

from __future__ import annotations

from collections.abc import Mapping

from understudy_contracts.errors import InvalidInput, StaleEpoch
from understudy_contracts.ids import epoch_of
from understudy_contracts.machine import Fence


def pass_fence(fence: Fence, epoch: int, step: int) -> Fence:
    """The fence after a duty command of (epoch, step). The same again is a repeat and passes.

    Raises:
        StaleEpoch: an older command than one that was accepted before.
    """
    came = Fence(epoch, step)
    if came < fence:
        raise StaleEpoch(
            f"epoch {epoch} step {step} is older than epoch {fence.epoch} step {fence.step}, "
            "which this machine has accepted"
        )
    return came


def pass_lane(lanes: Mapping[str, int], failover: str, epoch: int, step: int) -> dict[str, int]:
    """The lanes after a footage command. Footage of one failover is cared for while others go on, so each
    failover has a lane of its own.

    Raises:
        InvalidInput: the epoch is another failover's.
        StaleEpoch: an older step than one that was accepted before.
    """
    check_epoch(failover, epoch)
    if step < lanes.get(failover, 0):
        raise StaleEpoch(
            f"step {step} of {failover} is older than step {lanes[failover]}, which this machine has accepted"
        )
    return {**lanes, failover: step}


def check_epoch(failover: str, epoch: int) -> None:
    """Raises:
    InvalidInput: this is not the failover's epoch.
    """
    if epoch_of(failover) != epoch:
        raise InvalidInput(f"epoch {epoch} is not that of {failover}")
