"""Drives every restoration that is under way; one instance at a time, told by a lease."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import structlog
from understudy_bus.connection import Bus
from understudy_contracts.commands import FetchFootage, StopFetching
from understudy_contracts.errors import UnderstudyError
from understudy_contracts.machine import RestorationProgress
from understudy_contracts.restorations import RestorationJob
from understudy_runtime.clock import Clock
from understudy_runtime.grants import Grant, Signer
from understudy_runtime.retry import pauses
from understudy_runtime.telemetry import span
from understudy_runtime.waiting import go_on, wait_at_most
from understudy_store.leases import Lease

from understudy_recording_sync.jobs import (
    GRANT_MS,
    Action,
    Attempt,
    Finish,
    Rest,
    SendFetch,
    SendStop,
    UpdateProgress,
    Wait,
    next_action,
)
from understudy_recording_sync.machines import Machines
from understudy_recording_sync.restorations import Restorations

POLL_S: Final = 0.5
TELL_EVERY_S: Final = 1.0
COMMAND_S: Final = 3.0

log = structlog.get_logger()


def _pauses() -> Iterator[float]:
    return pauses(0.5, 10.0)


@dataclass
class _Hand:
    """What is remembered of a job between two looks at it; losing it costs nothing."""

    not_before: float = 0.0
    told_at: float = float("-inf")
    pauses: Iterator[float] = field(default_factory=_pauses)
    task: asyncio.Task[None] | None = None


class Driver:
    """Looks at each job when there is news, and twice a second."""

    def __init__(
        self,
        bus: Bus,
        restorations: Restorations,
        signer: Signer,
        clock: Clock,
        lease: Lease,
        group: asyncio.TaskGroup,
    ) -> None:
        self._bus = bus
        self._restorations = restorations
        self._signer = signer
        self._clock = clock
        self._lease = lease
        self._group = group
        self._news = asyncio.Event()
        self._hands: dict[str, _Hand] = {}
        self.machines = Machines(bus.subjects, self._news.set)

    def wake(self) -> None:
        """A job was written."""
        self._news.set()

    async def run(self) -> None:
        """Drive until cancelled."""
        held_until = 0.0
        try:
            while go_on():
                self._news.clear()
                try:
                    if _now() > held_until - self._lease.ttl_s * 2 / 3:
                        asked_at = _now()
                        held_until = asked_at + self._lease.ttl_s if await self._lease.acquire() else 0.0
                    if _now() < held_until:
                        await self._look()
                except UnderstudyError as error:
                    log.warning("restorations pause", error=error.message)
                    await asyncio.sleep(POLL_S)
                    continue
                await wait_at_most(self._news, POLL_S)
        finally:
            for hand in self._hands.values():
                if hand.task is not None:
                    hand.task.cancel()
            await _let_go(self._lease)

    async def _look(self) -> None:
        jobs = await self._restorations.under_way()
        fetching = self.machines.fetching() - {job.failover for job in jobs}
        jobs += await self._restorations.stopped_among(fetching)
        at_hand = {job.failover for job in jobs}
        self._hands = {
            failover: hand for failover, hand in self._hands.items() if failover in at_hand or hand.task
        }
        for job in jobs:
            hand = self._hands.setdefault(job.failover, _Hand())
            if hand.task is None:
                hand.task = self._group.create_task(self._drive(job, hand))

    async def _drive(self, job: RestorationJob, hand: _Hand) -> None:
        try:
            with structlog.contextvars.bound_contextvars(failover=job.failover, server=job.server):
                await self._take(job, hand, await self._decide(job))
        except UnderstudyError as error:
            log.warning("restoration pauses", failover=job.failover, error=error.message)
        finally:
            hand.task = None

    async def _decide(self, job: RestorationJob) -> Action:
        return next_action(
            job,
            self.machines.seen(job.target_machine, job.failover),
            self.machines.seen(job.source_machine, job.failover),
            await self._restorations.attempt(job.failover),
            self._clock.wall_ms(),
        )

    async def _take(self, job: RestorationJob, hand: _Hand, action: Action) -> None:
        match action:
            case SendFetch(source=source):
                await self._send_fetch(job, hand, source)
            case SendStop():
                if _now() >= hand.not_before:
                    await self._send_stop(job, hand)
            case UpdateProgress(progress=progress):
                hand.pauses = _pauses()
                await self._update(job, hand, progress, "")
            case Wait(reason=reason, progress=progress):
                await self._update(job, hand, progress, reason)
            case Finish(progress=progress):
                log.info("footage is home", files=progress.files_verified, bytes=progress.bytes_total)
                ended = {"state": "done", "reason": "", "ended_at": self._clock.wall_ms()}
                await self._restorations.update(job, "done", **ended, **_counts(progress))
            case Rest():
                pass

    async def _send_fetch(self, job: RestorationJob, hand: _Hand, source: str) -> None:
        address = self.machines.address(job.target_machine)
        if address is None or _now() < hand.not_before:
            return
        sent_at = self._clock.wall_ms()
        grant = Grant(
            purpose="fetch",
            machine=job.source_machine,
            expires_at=sent_at + GRANT_MS,
            failover=job.failover,
            epoch=job.epoch,
        )
        command = FetchFootage(job.epoch, job.step, job.failover, source, self._signer.sign(grant))
        try:
            with span("restoration.fetch", failover=job.failover, machine=address.machine):
                done = await self._bus.command(address, command, timeout_s=COMMAND_S)
        except UnderstudyError as error:
            hand.not_before = _now() + next(hand.pauses)
            await self._update(job, hand, None, f"the recording server {address.machine}: {error.message}")
            return
        self.machines.take(address, done.state)
        await self._restorations.note_attempt(Attempt(job.failover, job.step, source, sent_at))
        # An order that was accepted and shows no sign of itself is repeated, but not without a pause.
        hand.not_before = _now() + next(hand.pauses)
        self.wake()

    async def _send_stop(self, job: RestorationJob, hand: _Hand) -> None:
        hand.not_before = _now() + next(hand.pauses)
        await self.stop_fetching(job)

    async def stop_fetching(self, job: RestorationJob) -> None:
        """Order the target to stop, if it is there; else it is ordered when it comes back.

        Raises:
            UnderstudyError: it refused, or did not answer.
        """
        address = self.machines.address(job.target_machine)
        seen = self.machines.seen(job.target_machine, job.failover)
        if address is None or seen is None or seen.away:
            return
        command = StopFetching(job.epoch, job.step, job.failover)
        done = await self._bus.command(address, command, timeout_s=COMMAND_S)
        self.machines.take(address, done.state)

    async def _update(
        self, job: RestorationJob, hand: _Hand, progress: RestorationProgress | None, reason: str
    ) -> None:
        """Write how far it is: at once when it begins or ceases to wait, else at most once a second."""
        state = "waiting" if reason else "running"
        changes = {"state": state, "reason": reason, **(_counts(progress) if progress else {})}
        before = {name: getattr(job, name) for name in changes}
        if changes == before:
            return
        turned = (state, reason) != (job.state, job.reason)
        if not turned and _now() < hand.told_at + TELL_EVERY_S:
            return
        hand.told_at = _now()
        await self._restorations.update(job, "waiting" if reason else "progress", **changes)


def _counts(progress: RestorationProgress) -> dict[str, object]:
    return {
        "files_total": progress.files_total,
        "files_verified": progress.files_verified,
        "bytes_total": progress.bytes_total,
        "bytes_copied": progress.bytes_copied,
        "missing": progress.missing,
        "digest": progress.digest,
    }


async def _let_go(lease: Lease) -> None:
    try:
        async with asyncio.timeout(1):
            await lease.release()
    except (UnderstudyError, TimeoutError):
        log.debug("the driver's lease runs out by itself")


def _now() -> float:
    return asyncio.get_running_loop().time()
