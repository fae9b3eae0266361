"""What the orchestrator can be asked."""

from __future__ import annotations

from collections.abc import Mapping

from understudy_bus.serving import VerbHandlers
from understudy_contracts.errors import ConfirmationRequired, Conflict
from understudy_contracts.failovers import Failover
from understudy_contracts.model import Phase, Service
from understudy_contracts.verbs import (
    START_FAILOVER,
    STOP_FAILOVER,
    STOP_RESTORATION,
    StopFailover,
    StopRestoration,
)

from understudy_orchestrator.driver import Driver
from understudy_orchestrator.failovers import Failovers
from understudy_orchestrator.surroundings import Surroundings
from understudy_orchestrator.triggers import Triggers

ATTEMPTS = 5


class Requests:
    """Stops are wishes written into the document; the driver acts on them."""

    def __init__(
        self, failovers: Failovers, surroundings: Surroundings, driver: Driver, triggers: Triggers
    ) -> None:
        self._failovers = failovers
        self._surroundings = surroundings
        self._driver = driver
        self._triggers = triggers

    def handlers(self) -> VerbHandlers:
        handlers = VerbHandlers(Service.ORCHESTRATOR)
        handlers.add(START_FAILOVER, self._triggers.start_by_hand)
        handlers.add(STOP_FAILOVER, self.stop)
        handlers.add(STOP_RESTORATION, self.stop_restoration)
        return handlers

    async def stop(self, request: StopFailover) -> Failover:
        """M15; see house.md, 6 for the confirmation."""
        failover = await self._failovers.get(request.failover)
        if not failover.holds_original:
            raise Conflict(f"{failover.id} has ended already (it is {failover.phase.value})")
        if failover.phase is Phase.HANDING_BACK:
            return failover
        world = await self._surroundings.world(failover)
        if failover.phase is not Phase.WAITING and not world.original_answers and not request.confirmed:
            cameras = [camera.camera for camera in failover.cameras]
            raise ConfirmationRequired(
                f"{failover.server_name} is away: stopping {failover.id} leaves {len(cameras)} cameras dark "
                "until it is back, and no trigger will act before that",
                cameras=cameras,
            )
        wish: dict[str, object] = {"stop_requested": True, "stop_requested_by": request.by}
        if request.confirmed and not world.original_answers:
            wish["stop_confirmed"] = True
        return await self._wish(request.failover, wish)

    async def stop_restoration(self, request: StopRestoration) -> Failover:
        """M18: what has not come across is removed."""
        failover = await self._failovers.get(request.failover)
        if failover.phase is not Phase.RESTORING:
            raise Conflict(f"{failover.id} brings no footage home now (it is {failover.phase.value})")
        return await self._wish(request.failover, {"stop_restoration_requested": True})

    async def _wish(self, name: str, changes: Mapping[str, object]) -> Failover:
        for _ in range(ATTEMPTS):
            failover = await self._failovers.get(name)
            try:
                changed = await self._failovers.change(failover, changes)
            except Conflict:
                continue
            self._driver.wake(name)
            return changed
        raise Conflict(f"{name} changes too quickly now: try again")
