"""The job of bringing one failover's footage home; owned by recording-sync."""

from __future__ import annotations

from typing import Literal

import msgspec

from understudy_contracts.ids import FailoverId, Id

RestorationState = Literal["running", "waiting", "done", "stopped", "discarded"]


class RestorationJob(msgspec.Struct, frozen=True, omit_defaults=True):
    """From `source_machine` (the failover server's) to `target_machine`. Times are UTC milliseconds.

    `digest` is that of the manifest whose every file the target has verified; the source clears its
    folder only against it (promise P10).
    """

    failover: FailoverId
    epoch: int
    step: int
    server: Id
    source_machine: Id
    target_machine: Id
    state: RestorationState
    started_at: int
    ended_at: int | None = None
    files_total: int = 0
    files_verified: int = 0
    bytes_total: int = 0
    bytes_copied: int = 0
    missing: int = 0
    digest: str = ""
    reason: str = ""
    revision: int = 0

    @property
    def percent(self) -> float:
        """0 to 100, by bytes; by files where there are no bytes."""
        if self.state == "done":
            return 100.0
        if self.bytes_total:
            return min(100.0, 100.0 * self.bytes_copied / self.bytes_total)
        return 0.0
