"""What this machine's footage is to it now: told by duty, settings and restorations alone. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from understudy_contracts.ids import FailoverId
from understudy_contracts.machine import Duty, RestorationProgress, Serving, Storage
from understudy_contracts.model import StorageState
from understudy_contracts.settings import VersionedSettings, WhenFull

from understudy_recording_server.keeping.forecast import warning
from understudy_recording_server.keeping.retention import Room, Rules, minimum_free


class Care(msgspec.Struct, frozen=True):
    """`own` are the rules for this server's own footage; None, and nothing of it goes.

    `away` is the failover that it serves in, with the rules for the footage made there: of that only room
    decides, for it must come home. Footage of any other failover is never touched. `not_home` are the
    failovers whose footage is on its way into this server's own.
    """

    own: Rules | None = None
    away: FailoverId | None = None
    away_rules: Rules = Rules()
    when_full: WhenFull = "oldest-first"
    not_home: frozenset[str] = frozenset()


def care_for(
    duty: Duty,
    own: VersionedSettings | None,
    staged: Mapping[str, VersionedSettings],
    restorations: Iterable[RestorationProgress],
) -> Care:
    """How footage is to be kept now. A failover server keeps by the settings of the server it serves for:
    its copy of them lies on its own disk, so that the host is not needed."""
    rules = None if own is None else Rules.of(own.settings)
    not_home = frozenset(
        restoration.failover for restoration in restorations if restoration.state not in {"done", "stopped"}
    )
    if not isinstance(duty, Serving) or duty.server not in staged:
        return Care(rules, not_home=not_home)
    settings = staged[duty.server].settings
    away_rules = Rules(minimum_free=settings.minimum_free_bytes)
    return Care(rules, duty.failover, away_rules, settings.when_full, not_home)


def must_stop(care: Care, room: Room, *, stopped: bool) -> bool:
    """Whether a failover server records no more, because its disk is full of footage that must come home.

    Once stopped it begins again when there is half as much room again, so that it does not go on and off.
    """
    if care.away is None or care.when_full != "stop":
        return False
    least = minimum_free(care.away_rules, room.total)
    return room.free < (least * 3 // 2 if stopped else least)


def storage_with_care(storage: Storage, care: Care, hours: float | None, *, stopped: bool) -> Storage:
    """The state of the storage with what its filling up means to people."""
    if care.away is None:
        return storage
    said = warning(care.away, hours, care.when_full)
    if stopped and storage.state in {StorageState.NORMAL, StorageState.DEGRADED}:
        reason = f"recording has stopped: the disk is full of footage of {care.away} that has not come home"
        storage = msgspec.structs.replace(storage, state=StorageState.FULL, reason=reason)
    return msgspec.structs.replace(storage, hours_left=hours, warnings=[said] if said else [])
