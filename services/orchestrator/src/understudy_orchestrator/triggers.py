"""Starts failovers: by verdict, and by hand."""

from __future__ import annotations

import asyncio

import structlog
from understudy_contracts.errors import Conflict, InvalidInput, NotFound, UnderstudyError
from understudy_contracts.failovers import Failover, Reason
from understudy_contracts.model import Action, Role
from understudy_contracts.servers import Server, ServerVerdict
from understudy_contracts.verbs import StartFailover
from understudy_runtime.clock import Clock
from understudy_runtime.telemetry import span
from understudy_runtime.waiting import go_on, wait_at_most
from understudy_store.collections import servers, verdicts
from understudy_store.database import Database

from understudy_orchestrator.automatic import refusal_to_start
from understudy_orchestrator.driver import Driver
from understudy_orchestrator.failovers import Failovers
from understudy_orchestrator.selection import select
from understudy_orchestrator.surroundings import Surroundings

# Verdicts also arrive as events; this is for those that were missed.
LOOK_AGAIN_S = 1.0
ATTEMPTS = 5

log = structlog.get_logger()


class Triggers:
    """Every failover begins here."""

    def __init__(
        self,
        database: Database,
        failovers: Failovers,
        surroundings: Surroundings,
        driver: Driver,
        clock: Clock,
    ) -> None:
        self._servers = servers(database)
        self._verdicts = verdicts(database)
        self._failovers = failovers
        self._surroundings = surroundings
        self._driver = driver
        self._clock = clock
        self._look = asyncio.Event()
        self._told: dict[str, str] = {}

    def wake(self) -> None:
        """A verdict changed."""
        self._look.set()

    async def run(self) -> None:
        """Start what verdicts trigger, until cancelled."""
        while go_on():
            self._look.clear()
            try:
                for verdict in await self._verdicts.find({"action": Action.TRIGGER.value}):
                    await self._consider(verdict)
            except UnderstudyError as error:
                log.warning("cannot weigh the verdicts", error=str(error))
            await wait_at_most(self._look, LOOK_AGAIN_S)

    async def _consider(self, verdict: ServerVerdict) -> None:
        server = await self._servers.get(verdict.server)
        if server is None:
            return
        settings = await self._surroundings.settings_of(server)
        latest = await self._failovers.latest_of(server.id)
        refused = refusal_to_start(server, verdict, latest, settings, self._clock.wall_ms())
        if refused is not None:
            if self._told.get(server.id) != refused:
                log.info("no automatic failover", server=server.id, why=refused)
            self._told[server.id] = refused
            return
        self._told.pop(server.id, None)
        reason = Reason(
            code=verdict.verdict.value,
            text=verdict.reason,
            fault_at=verdict.fault_at,
            verdict_at=verdict.since,
        )
        try:
            await self._start(server, reason=reason, automatic=True)
        except Conflict as error:
            log.info("no automatic failover", server=server.id, why=error.message)

    async def start_by_hand(self, request: StartFailover) -> Failover:
        """M9.

        Raises:
            NotFound: no such server.
            InvalidInput: it cannot be failed over, or not to that failover server.
            Conflict: it is in a failover already.
        """
        server = await self._servers.get(request.server)
        if server is None:
            raise NotFound(f"there is no server {request.server}")
        if server.role is not Role.RECORDING:
            raise InvalidInput(f"{server.name} is a failover server; only recording servers fail over")
        candidates = await self._surroundings.candidates(server)
        if not candidates:
            raise InvalidInput(f"{server.name} is paired with no failover server; pair one first")
        if request.failover_server and request.failover_server not in {c.server for c in candidates}:
            raise InvalidInput(f"{request.failover_server} is no failover server paired with {server.name}")
        running = await self._failovers.holding(server.id)
        if running is not None:
            raise Conflict(f"{server.name} is in failover {running.id} already", failover=running.id)
        reason = Reason(code="manual", text="manual failover", by=request.by)
        return await self._start(server, reason=reason, automatic=False, requested=request.failover_server)

    async def _start(
        self, server: Server, *, reason: Reason, automatic: bool, requested: str | None = None
    ) -> Failover:
        settings = await self._surroundings.settings_of(server)
        cameras = await self._surroundings.cameras_of(server.id)
        with span("failover", server=server.id, reason=reason.code):
            for attempt in range(ATTEMPTS):
                selection = select(
                    await self._surroundings.candidates(server),
                    site=server.site,
                    cameras=cameras,
                    requested=requested,
                )
                try:
                    failover = await self._failovers.create(
                        server,
                        reason=reason,
                        automatic=automatic,
                        settings=settings,
                        candidate=selection.chosen,
                        rejected=selection.rejected,
                        requested=requested,
                    )
                except Conflict:
                    # Either this server got a failover meanwhile, or its candidate was taken by another.
                    if attempt == ATTEMPTS - 1 or await self._failovers.holding(server.id):
                        raise
                    continue
                log.info("failover begins", failover=failover.id, server=server.id, reason=reason.text)
                self._driver.take_up(failover.id)
                return failover
        raise Conflict(f"{server.name} cannot fail over now: try again")
