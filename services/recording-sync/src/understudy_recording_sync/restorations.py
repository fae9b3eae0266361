"""The restoration jobs in the database: each change in one transaction with its event."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import msgspec
from understudy_contracts.errors import InvalidInput, NotFound, StaleEpoch
from understudy_contracts.events import RestorationChanged
from understudy_contracts.ids import epoch_of
from understudy_contracts.restorations import RestorationJob
from understudy_contracts.verbs import HaltRestoration, StartRestoration
from understudy_runtime.clock import Clock
from understudy_store import collections
from understudy_store.database import Database, Session
from understudy_store.outbox import Outbox

from understudy_recording_sync.jobs import Attempt

R = TypeVar("R")

UNDER_WAY: Final = ("running", "waiting")


class Restorations:
    """`revision` of a job grows with each write and fences writers who read it before another wrote it."""

    def __init__(self, database: Database, outbox: Outbox, clock: Clock) -> None:
        self._database = database
        self._outbox = outbox
        self._clock = clock
        self._jobs = collections.restorations(database)
        self._attempts = database.documents("restoration-attempts", Attempt, "failover")

    async def prepare(self) -> None:
        """Indexes."""
        await self._jobs.index("state", name="by-state")

    async def read(self, failover: str) -> RestorationJob:
        """Raises:
        NotFound: no restoration was started for this failover.
        """
        job = await self._jobs.get(failover)
        if job is None:
            raise NotFound(f"no restoration was started for {failover}")
        return job

    async def under_way(self) -> list[RestorationJob]:
        return await self._jobs.find({"state": {"$in": list(UNDER_WAY)}})

    async def stopped_among(self, failovers: set[str]) -> list[RestorationJob]:
        """Those of these failovers' jobs that were stopped."""
        if not failovers:
            return []
        return await self._jobs.find({"_id": {"$in": sorted(failovers)}, "state": "stopped"})

    async def attempt(self, failover: str) -> Attempt | None:
        return await self._attempts.get(failover)

    async def note_attempt(self, attempt: Attempt) -> None:
        await self._attempts.replace(attempt, upsert=True)

    async def start(self, request: StartRestoration) -> RestorationJob:
        """Begin a job; asked again, the job as it is. A later step hands a job that is under way on to its
        machines.

        Raises:
            InvalidInput: the epoch is another failover's, or source and target are one machine.
        """
        _check_epoch(request.failover, request.epoch)
        if request.source_machine == request.target_machine:
            raise InvalidInput(f"footage cannot come home from {request.source_machine} to itself")

        async def work(session: Session) -> RestorationJob:
            job = await self._jobs.get(request.failover, session)
            if job is not None and (job.state not in UNDER_WAY or request.step <= job.step):
                return job
            started = RestorationJob(
                failover=request.failover,
                epoch=request.epoch,
                step=request.step,
                server=request.server,
                source_machine=request.source_machine,
                target_machine=request.target_machine,
                state="running",
                started_at=job.started_at if job else self._clock.wall_ms(),
                revision=job.revision + 1 if job else 1,
            )
            await self._jobs.replace(started, session, upsert=True)
            await self._tell(session, "started", started)
            return started

        return await self._transact(work)

    async def halt(self, request: HaltRestoration) -> RestorationJob:
        """Stop a job for good; one that has ended stays as it is.

        Raises:
            NotFound: no restoration was started for this failover.
            StaleEpoch: a later step has started it since.
        """
        _check_epoch(request.failover, request.epoch)

        async def work(session: Session) -> RestorationJob:
            job = await self._jobs.get(request.failover, session)
            if job is None:
                raise NotFound(f"no restoration was started for {request.failover}")
            if job.state not in UNDER_WAY:
                return job
            if request.step < job.step:
                raise StaleEpoch(f"step {request.step} of {job.failover} is older than step {job.step}")
            stopped = msgspec.structs.replace(
                job,
                state="stopped",
                step=request.step,
                ended_at=self._clock.wall_ms(),
                reason="",
                revision=job.revision + 1,
            )
            await self._jobs.replace(stopped, session)
            await self._tell(session, "stopped", stopped)
            return stopped

        return await self._transact(work)

    async def update(self, job: RestorationJob, event: str, **changes: object) -> bool:
        """Write changes to a job as it was read. Returns False if somebody has written it meanwhile."""
        changed = msgspec.structs.replace(job, revision=job.revision + 1, **changes)

        async def work(session: Session) -> bool:
            if not await self._jobs.replace(changed, session, where={"revision": job.revision}):
                return False
            await self._tell(session, event, changed)
            return True

        return await self._transact(work)

    async def _tell(self, session: Session, event: str, job: RestorationJob) -> None:
        await self._outbox.append(session, "restoration", job.failover, event, RestorationChanged(job))

    async def _transact(self, work: Callable[[Session], Coroutine[Any, Any, R]]) -> R:
        result = await self._database.transact(work)
        self._outbox.wake()
        return result


def _check_epoch(failover: str, epoch: int) -> None:
    if epoch_of(failover) != epoch:
        raise InvalidInput(f"{failover} is not of epoch {epoch}: send the failover's own")
