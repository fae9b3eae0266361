"""Device license keys and the ledger of who held them."""

from __future__ import annotations

import msgspec

from understudy_contracts.ids import FailoverId, Id


class LicenseKey(msgspec.Struct, frozen=True, omit_defaults=True):
    """One key. A key is one document with one holder: that alone makes two holders impossible (P1).

    `holder` is a server id, or None while the key is free; `home` is where it goes back to after `failover`.
    """

    key: str
    holder: Id | None
    since: int
    home: Id | None = None
    failover: FailoverId | None = None


class LedgerEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One move of one key, never changed afterwards; `position` orders the ledger."""

    position: int
    key: str
    at: int
    reason: str
    source: Id | None = None
    target: Id | None = None
    failover: FailoverId | None = None


def overlapping_holdings(ledger: list[LedgerEntry]) -> int:
    """How often the ledger gives a key away that its giver did not hold: each would be a second holder.

    The ledger is replayed in order of position; promise P1 wants 0.
    """
    holder: dict[str, str | None] = {}
    overlaps = 0
    for entry in sorted(ledger, key=lambda e: e.position):
        if entry.key in holder and holder[entry.key] != entry.source:
            overlaps += 1
        holder[entry.key] = entry.target
    return overlaps
