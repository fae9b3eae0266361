"""What a restoration needs next, told from its job and what its two machines say. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec
from understudy_contracts.ids import FailoverId
from understudy_contracts.machine import Heartbeat, RestorationProgress
from understudy_contracts.restorations import RestorationJob

# A machine that was not heard for so long is away; it is waited for, so being wrong costs nothing.
AWAY_AFTER_S: Final = 5.0
# A fetch that failed on the machine is ordered again after so long.
RETRY_MS: Final = 5_000
# A grant is good for 12 hours, and renewed at half of that: a restoration may take days.
GRANT_MS: Final = 12 * 3_600_000
RENEW_MS: Final = GRANT_MS // 2


class Attempt(msgspec.Struct, frozen=True):
    """The last order that the target accepted: which step, from which address, when (UTC milliseconds)."""

    failover: FailoverId
    step: int
    source: str
    sent_at: int


@dataclass(frozen=True)
class Seen:
    """What was last heard of a machine, and how long ago, in seconds."""

    heartbeat: Heartbeat
    age_s: float
    progress: RestorationProgress | None = None

    @property
    def away(self) -> bool:
        return self.age_s > AWAY_AFTER_S


@dataclass(frozen=True)
class SendFetch:
    """Order the target to fetch from the address `source`."""

    source: str


@dataclass(frozen=True)
class SendStop:
    """Order the target to fetch no more."""


@dataclass(frozen=True)
class UpdateProgress:
    progress: RestorationProgress


@dataclass(frozen=True)
class Finish:
    """Every file is verified; the digest says of what."""

    progress: RestorationProgress


@dataclass(frozen=True)
class Wait:
    """It cannot go on now, and `reason` says why."""

    reason: str
    progress: RestorationProgress | None = None


@dataclass(frozen=True)
class Rest:
    """Nothing is to be done for it any more."""


Action = SendFetch | SendStop | UpdateProgress | Finish | Wait | Rest


def next_action(
    job: RestorationJob, target: Seen | None, source: Seen | None, attempt: Attempt | None, now_ms: int
) -> Action:
    """What to do for `job` now. Waiting always names its reason, and ends by itself (promise P4)."""
    progress = target.progress if target else None
    if job.state not in {"running", "waiting"}:
        still_fetching = progress is not None and progress.state == "running"
        return SendStop() if job.state == "stopped" and still_fetching else Rest()
    if progress is not None and progress.state == "done" and progress.digest:
        return Finish(progress)
    if target is None or target.away:
        return Wait(f"the recording server {job.target_machine} is away")
    if source is None or source.away:
        return Wait(f"the failover server {job.source_machine} is away", progress)
    if not source.heartbeat.address:
        return Wait(f"the failover server {job.source_machine} has told no address for footage", progress)
    if progress is None:
        return SendFetch(source.heartbeat.address)
    return _go_on(job, progress, source.heartbeat.address, attempt, now_ms)


def _go_on(
    job: RestorationJob, progress: RestorationProgress, address: str, attempt: Attempt | None, now_ms: int
) -> Action:
    """The target knows the job, and both machines are there."""
    if attempt is None or attempt.step != job.step or attempt.source != address:
        return SendFetch(address)
    since_ms = abs(now_ms - attempt.sent_at)  # the wall clock may have jumped either way
    if progress.state == "running":
        if since_ms >= RENEW_MS:
            return SendFetch(address)
        return Wait(progress.reason, progress) if progress.reason else UpdateProgress(progress)
    if since_ms >= RETRY_MS:
        return SendFetch(address)
    reason = progress.reason or f"the recording server {job.target_machine} has ended fetching early"
    return Wait(reason, progress)
