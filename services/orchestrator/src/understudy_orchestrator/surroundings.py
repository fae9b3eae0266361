"""Takes the snapshot that the plan looks at: from the database, and from what the machines say."""

from __future__ import annotations

import asyncio

from understudy_bus.connection import Bus
from understudy_contracts.errors import UnderstudyError
from understudy_contracts.failovers import Failover
from understudy_contracts.model import Phase, Role, StorageState, Verdict
from understudy_contracts.servers import Server
from understudy_contracts.settings import FailoverSettings
from understudy_contracts.verbs import READ_SETTINGS, ReadSettings
from understudy_runtime.clock import Clock
from understudy_store.collections import read_defaults, restorations, servers, verdicts
from understudy_store.database import Database

from understudy_orchestrator.failovers import Failovers
from understudy_orchestrator.machines import Machines
from understudy_orchestrator.selection import Candidate
from understudy_orchestrator.world import World

# Candidates were heard within this many seconds, or they are passed over.
HEARD_WITHIN_S = 5.0


class Surroundings:
    """Reads only."""

    def __init__(
        self, database: Database, bus: Bus, machines: Machines, failovers: Failovers, clock: Clock
    ) -> None:
        self._servers = servers(database)
        self._verdicts = verdicts(database)
        self._restorations = restorations(database)
        self._database = database
        self._bus = bus
        self._machines = machines
        self._failovers = failovers
        self._clock = clock

    async def world(self, failover: Failover) -> World:
        """The world around `failover` now."""
        server, original_verdict, stand_in_verdict = await asyncio.gather(
            self._servers.get(failover.server),
            self._verdicts.get(failover.server),
            self._verdicts.get(failover.failover_server or ""),
        )
        machine = server.machine if server else failover.machine
        waiting = failover.phase is Phase.WAITING and server is not None
        holder = None if failover.holds_original else await self._failovers.holding(failover.server)
        return World(
            now_ms=self._clock.wall_ms(),
            original_machine=machine,
            original=self._machines.view(machine),
            stand_in=self._machines.view(failover.failover_machine),
            original_verdict=original_verdict,
            stand_in_verdict=stand_in_verdict,
            restoration=(
                await self._restorations.get(failover.id) if failover.phase is Phase.RESTORING else None
            ),
            candidates=await self.candidates(server) if waiting and server else (),
            cameras=await self.cameras_of(server.id) if waiting and server else 0,
            holder=holder.phase if holder else None,
        )

    async def candidates(self, server: Server) -> list[Candidate]:
        """The failover servers paired with `server`, each as it is now."""
        spares = await self._servers.find({"role": Role.FAILOVER.value})
        found = {verdict.server: verdict for verdict in await self._verdicts.find()}
        busy = await self._failovers.busy_failover_servers()
        candidates = []
        for spare in spares:
            if not server.is_paired_with(spare):
                continue
            view = self._machines.view(spare.machine)
            verdict = found.get(spare.id)
            candidates.append(
                Candidate(
                    server=spare.id,
                    name=spare.name,
                    site=spare.site,
                    machine=spare.machine,
                    capacity=spare.maximum_cameras,
                    verdict=verdict.verdict if verdict else Verdict.UNKNOWN,
                    storage=view.heartbeat.storage.state if view else StorageState.NORMAL,
                    busy_with=busy.get(spare.id),
                    disabled=spare.disabled,
                    answers=view is not None and view.age_s <= HEARD_WITHIN_S,
                )
            )
        return candidates

    async def cameras_of(self, server: str) -> int:
        """How many enabled cameras the server has; 0 if nobody can say now, which only affects the fit."""
        try:
            settings = await self._bus.ask(READ_SETTINGS, ReadSettings(server), timeout_s=1.0)
        except UnderstudyError:
            return 0
        return sum(camera.enabled for camera in settings.settings.cameras)

    async def settings_of(self, server: Server) -> FailoverSettings:
        """The failover settings that hold for `server` now."""
        return server.failover_settings or await read_defaults(self._database)
