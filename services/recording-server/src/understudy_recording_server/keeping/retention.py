"""Which files go, oldest first, and why: decided from the list of files, the settings and the room. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from understudy_contracts.settings import ServerSettings
from understudy_footage import Held

from understudy_recording_server.disk.storage_state import FEW_INODES, reserve

DAY_MS = 86_400_000
MOST_AT_ONCE = 500
"""Files of one round: removing them takes well under a second, and the next round comes a second later."""
DEFAULT_FREE_SHARE = 0.04
DEFAULT_FREE_BYTES = 1 << 30
DEFAULT_FREE_FILES = 1024


class Room(msgspec.Struct, frozen=True):
    """The disk, in bytes, and in files where it takes only so many (else 0)."""

    total: int
    free: int
    total_files: int = 0
    free_files: int = 0


class Rules(msgspec.Struct, frozen=True):
    """What the settings say. None: no limit; for `minimum_free`, the default."""

    days: int | None = None
    bytes: int | None = None
    minimum_free: int | None = None

    @classmethod
    def of(cls, settings: ServerSettings) -> Rules:
        return cls(settings.retention_days, settings.retention_bytes, settings.minimum_free_bytes)


class Doomed(msgspec.Struct, frozen=True):
    """A file that goes, and why in clear words."""

    held: Held
    reason: str


def minimum_free(rules: Rules, total: int) -> int:
    """How many bytes must stay free on a disk of `total` bytes: never so few that it counts as full."""
    wanted = rules.minimum_free
    if wanted is None:
        wanted = int(min(DEFAULT_FREE_BYTES, total * DEFAULT_FREE_SHARE))
    # A wish that no disk of this size can fulfil must not remove everything for ever.
    return max(reserve(total), min(wanted, total // 2))


def minimum_free_files(total_files: int) -> int:
    """How many more files a disk must take that takes `total_files`; snapshots can use these up first."""
    return min(
        max(FEW_INODES, min(DEFAULT_FREE_FILES, int(total_files * DEFAULT_FREE_SHARE))), total_files // 2
    )


def doomed(
    files: Iterable[Held],
    rules: Rules,
    room: Room,
    *,
    held_bytes: int,
    now_ms: int | None,
    not_home: frozenset[str] = frozenset(),
    limit: int = MOST_AT_ONCE,
) -> list[Doomed]:
    """The files to remove now, at most `limit`, the oldest first.

    `files` come oldest first and have `held_bytes` together. `now_ms` None: the clock cannot be trusted at
    present, so no file is too old. Files that are coming home from a failover of `not_home` stay: they are
    not home before all of them are.
    """
    need = minimum_free(rules, room.total) - room.free
    need_files = minimum_free_files(room.total_files) - room.free_files
    excess = held_bytes - rules.bytes if rules.bytes is not None else 0
    too_old = now_ms - rules.days * DAY_MS if rules.days is not None and now_ms is not None else None
    found: list[Doomed] = []
    for held in files:
        if len(found) >= limit:
            break
        if need <= 0 and need_files <= 0 and excess <= 0 and (too_old is None or held.start_ms >= too_old):
            break
        if held.came_from is not None and held.came_from in not_home:
            continue
        if too_old is not None and held.end_ms < too_old:
            reason = f"older than {rules.days} days"
        elif excess > 0:
            reason = f"beyond the {rules.bytes} bytes that may be kept"
        elif need > 0 or need_files > 0:
            reason = "room was needed for new footage"
        else:
            continue  # Began too long ago, but ended later.
        found.append(Doomed(held, reason))
        need -= held.size
        need_files -= 1
        excess -= held.size
    return found


class ClockNote(msgspec.Struct, frozen=True):
    """What the wall clock showed last, and for how long it was not to be trusted yet."""

    seen_ms: int
    rests_s: float = 0.0


class WallClockWatch:
    """Whether the wall clock can be trusted with deleting. It cannot for a day after a jump: a clock that is
    a year ahead would make all footage too old. No clock of its own."""

    JUMP_MS = 3_600_000
    REST_S = 86_400.0
    LONGEST_OFF_MS = DAY_MS
    """A machine that was off is no jump, as long as it was off for the night."""

    def __init__(self, wall_ms: int, monotonic_s: float, before: ClockNote | None = None) -> None:
        """`before` is what was noted before this process began."""
        self._offset_ms = wall_ms - monotonic_s * 1000
        rests_s = 0.0
        if before is not None:
            jumped = abs(wall_ms - before.seen_ms) > self.LONGEST_OFF_MS
            rests_s = self.REST_S if jumped else min(before.rests_s, self.REST_S)
        self._rests_until = monotonic_s + rests_s if rests_s > 0 else None

    def trusted(self, wall_ms: int, monotonic_s: float) -> bool:
        """To be asked regularly: small steps, as a time server makes them, add up to no jump."""
        offset_ms = wall_ms - monotonic_s * 1000
        if abs(offset_ms - self._offset_ms) > self.JUMP_MS:
            self._rests_until = monotonic_s + self.REST_S
        self._offset_ms = offset_ms
        return self._rests_until is None or monotonic_s >= self._rests_until

    def note(self, wall_ms: int, monotonic_s: float) -> ClockNote:
        """What the next process has to know."""
        rests_s = 0.0 if self._rests_until is None else max(0.0, self._rests_until - monotonic_s)
        return ClockNote(wall_ms, rests_s)
