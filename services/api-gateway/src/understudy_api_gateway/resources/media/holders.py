"""Who holds a camera's footage: its own server, and failover servers whose failover is not over."""

from __future__ import annotations

from dataclasses import dataclass

from understudy_contracts.errors import Unavailable
from understudy_contracts.ids import check_id
from understudy_contracts.model import Phase
from understudy_store import collections

from understudy_api_gateway.machine_states import MachineStates
from understudy_api_gateway.parts import Parts
from understudy_api_gateway.resources.cameras.finding import find_camera


@dataclass(frozen=True)
class Holder:
    """A machine that may hold footage. `address` is None while it has not been heard of."""

    server: str
    machine: str
    address: str | None


async def holders_of(parts: Parts, camera: str) -> list[Holder]:
    """The machine that serves the camera now comes first.

    Raises:
        InvalidId: `camera` is no id.
        NotFound: there is no such camera.
        Unavailable: nobody can say whose it is.
    """
    check_id(camera, "camera id")
    machines = parts.machine_states
    serving = machines.serving(camera)
    found: dict[str, Holder] = {}
    if serving is not None:
        found[serving.machine] = Holder(serving.server or "", serving.machine, serving.address)
    try:
        settings, _ = await find_camera(parts, camera)
    except Unavailable:
        if serving is None:
            raise
        return list(found.values())
    server = await collections.servers(parts.database).get(settings.server)
    if server is not None and server.machine is not None:
        found.setdefault(server.machine, _holder(machines, server.id, server.machine))
    running = await collections.failovers(parts.database).find(
        {"server": settings.server, "phase": {"$ne": str(Phase.DONE)}}, order=[("epoch", -1)]
    )
    for failover in running:
        if failover.failover_server is not None and failover.failover_machine is not None:
            machine = failover.failover_machine
            found.setdefault(machine, _holder(machines, failover.failover_server, machine))
    return list(found.values())


def _holder(machines: MachineStates, server: str, machine: str) -> Holder:
    return Holder(server, machine, machines.address(machine))
