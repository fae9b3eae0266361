"""The edge to the bus: requests in, answers out."""

from __future__ import annotations

import structlog
from understudy_bus.serving import VerbHandlers
from understudy_contracts.errors import UnderstudyError
from understudy_contracts.model import Service
from understudy_contracts.restorations import RestorationJob
from understudy_contracts.verbs import (
    HALT_RESTORATION,
    READ_RESTORATION,
    START_RESTORATION,
    HaltRestoration,
    ReadRestoration,
    StartRestoration,
)

from understudy_recording_sync.driver import Driver
from understudy_recording_sync.restorations import Restorations

log = structlog.get_logger()


class Handlers:
    """What recording-sync is asked."""

    def __init__(self, restorations: Restorations, driver: Driver) -> None:
        self._restorations = restorations
        self._driver = driver

    def verbs(self) -> VerbHandlers:
        verbs = VerbHandlers(Service.RECORDING_SYNC)
        verbs.add(START_RESTORATION, self.start)
        verbs.add(HALT_RESTORATION, self.halt)
        verbs.add(READ_RESTORATION, self.read)
        return verbs

    async def start(self, request: StartRestoration) -> RestorationJob:
        job = await self._restorations.start(request)
        self._driver.wake()
        return job

    async def halt(self, request: HaltRestoration) -> RestorationJob:
        job = await self._restorations.halt(request)
        if job.state == "stopped":
            try:
                await self._driver.stop_fetching(job)
            except UnderstudyError as error:
                # The job has ended all the same; the machine is told again as long as it fetches.
                log.warning("not stopped yet", failover=job.failover, error=error.message)
        self._driver.wake()
        return job

    async def read(self, request: ReadRestoration) -> RestorationJob:
        return await self._restorations.read(request.failover)
