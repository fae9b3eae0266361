"""Something that is wrong with the storage, in clear words. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from understudy_contracts.model import StorageState

_WORST_FIRST = (StorageState.DAMAGED, StorageState.FULL, StorageState.DEGRADED, StorageState.NORMAL)
MAXIMUM_REASON = 500


class Finding(msgspec.Struct, frozen=True):
    """A reason why the storage is not normal."""

    state: StorageState
    reason: str


def damaged(reason: str) -> Finding:
    return Finding(StorageState.DAMAGED, reason)


def degraded(reason: str) -> Finding:
    return Finding(StorageState.DEGRADED, reason)


def full(reason: str) -> Finding:
    return Finding(StorageState.FULL, reason)


def summed_up(findings: Iterable[Finding]) -> tuple[StorageState, str]:
    """The worst state, and all reasons, the worst first. Normal, without a reason, when nothing was found."""
    ordered = sorted(findings, key=lambda finding: _WORST_FIRST.index(finding.state))
    if not ordered:
        return StorageState.NORMAL, ""
    reasons = list(dict.fromkeys(finding.reason for finding in ordered))
    text = "; ".join(reasons)
    return ordered[0].state, text if len(text) <= MAXIMUM_REASON else f"{text[: MAXIMUM_REASON - 3]}..."
