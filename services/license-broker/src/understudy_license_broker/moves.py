"""Which keys go where. Pure: the keys as they are in, the moves out.

A key that is lent carries the failover that borrowed it and the home that it goes back to. A later failover
may borrow it on from wherever it is; its home stays (house.md, Licenses). An earlier one never can: what
arrives late finds the key with a later failover and leaves it alone (promise P2).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
from understudy_contracts.errors import InvalidInput
from understudy_contracts.ids import epoch_of
from understudy_contracts.licenses import LicenseKey


@dataclass(frozen=True)
class Move:
    """One key, as it was and as it is to be."""

    before: LicenseKey
    after: LicenseKey


def check_epoch(failover: str, epoch: int) -> None:
    """Raises:
    InvalidInput: the failover's id names another epoch.
    """
    if epoch_of(failover) != epoch:
        raise InvalidInput(f"{failover} is not of epoch {epoch}: send the failover's own")


def plan_lending(
    keys: Iterable[LicenseKey], failover: str, source: str, target: str, count: int, now: int
) -> list[Move]:
    """Up to `count` keys of `source` go to `target`: those that it holds, then those that were lent from it
    to an earlier failover. Nothing, if `failover` has moved keys already.

    Raises:
        InvalidInput: source and target are the same.
    """
    if source == target:
        raise InvalidInput(f"keys cannot move from {source} to itself")
    everything = list(keys)
    if any(key.failover == failover for key in everything):
        return []
    free = [key for key in everything if _may_borrow(key, failover, source)]
    free.sort(key=lambda key: (key.holder != source, key.key))
    return [Move(key, _lent(key, failover, target, now)) for key in free[:count]]


def _may_borrow(key: LicenseKey, failover: str, source: str) -> bool:
    if source not in {key.holder, key.home}:
        return False
    return key.failover is None or epoch_of(key.failover) < epoch_of(failover)


def _lent(key: LicenseKey, failover: str, target: str, now: int) -> LicenseKey:
    home = key.home if key.failover is not None else key.holder
    return msgspec.structs.replace(key, holder=target, since=now, home=home, failover=failover)


def plan_returning(keys: Iterable[LicenseKey], failover: str, now: int) -> list[Move]:
    """Every key that is lent to `failover` goes home; what a later one has borrowed since stays there."""
    return [
        Move(key, LicenseKey(key=key.key, holder=key.home, since=now))
        for key in sorted(keys, key=lambda key: key.key)
        if key.failover == failover
    ]
