"""Original servers that stand down for nobody: each is told to record again.

It happens when the original died while it stood down and its failover ended without it, or when the only
failover server was lost: whoever ended the failover could not reach it, or had nobody to hand over to.
"""

from __future__ import annotations

import asyncio

import structlog
from understudy_bus.connection import Bus
from understudy_contracts.commands import Resume
from understudy_contracts.errors import UnderstudyError
from understudy_contracts.failovers import Failover
from understudy_contracts.machine import Authority, StoodDown
from understudy_contracts.model import Phase, Role
from understudy_contracts.servers import Server
from understudy_runtime.waiting import go_on
from understudy_store.collections import servers
from understudy_store.database import Database

from understudy_orchestrator.failovers import Failovers
from understudy_orchestrator.machines import Machines
from understudy_orchestrator.world import MachineView

LOOK_AGAIN_S = 1.0
COMMAND_TIMEOUT_S = 3.0

log = structlog.get_logger()


def resumption(latest: Failover | None, view: MachineView | None) -> Resume | None:
    """The command that has a machine record its own cameras again, or None if it must not. Pure.

    `latest` is the last failover of its server. Its epoch passes the machine's fence, and so does the number
    behind its last step; a later failover that begins meanwhile has a higher epoch.
    """
    if latest is None or view is None or not view.answers or not isinstance(view.heartbeat.duty, StoodDown):
        return None
    if latest.holds_original and latest.phase is not Phase.WAITING:
        return None
    step = max((record.number for record in latest.steps), default=0) + 1
    return Resume(latest.epoch, step, latest.id, Authority(keys=latest.keys))


class Strays:
    """Looks for them, and tells them."""

    def __init__(self, database: Database, bus: Bus, machines: Machines, failovers: Failovers) -> None:
        self._servers = servers(database)
        self._bus = bus
        self._machines = machines
        self._failovers = failovers

    async def run(self) -> None:
        """Until cancelled."""
        while go_on():
            try:
                for server in await self._servers.find({"role": Role.RECORDING.value}):
                    await self._look_at(server)
            except UnderstudyError as error:
                log.warning("cannot look for servers that stand down for nobody", error=error.message)
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _look_at(self, server: Server) -> None:
        view = self._machines.view(server.machine)
        if server.disabled or view is None or not isinstance(view.heartbeat.duty, StoodDown):
            return
        command = resumption(await self._failovers.latest_of(server.id), view)
        if command is None:
            return
        address = self._machines.address(view.heartbeat.machine, server.site)
        try:
            done = await self._bus.command(address, command, timeout_s=COMMAND_TIMEOUT_S)
        except UnderstudyError as error:
            log.warning("it stands down for nobody", server=server.id, error=error.message)
            return
        self._machines.learn(done.state)
        log.info("records again: it stood down for nobody", server=server.id, failover=command.failover)
