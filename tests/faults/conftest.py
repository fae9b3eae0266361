"""A whole house for tests that break it: the real control plane, machines, cameras, each a process."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from understudy_cli.addresses import ListenAddress
from understudy_cli.api import Api
from understudy_cli.control_plane import ControlPlane, ControlPlanePlan, running_control_plane
from understudy_cli.demo.cameras import USUAL, simulated_cameras
from understudy_cli.demo.site import Site
from understudy_cli.demo.waiting import NotYet, wait_for
from understudy_cli.processes import ProcessPlan
from understudy_cli.settings import ADMINISTRATOR
from understudy_contracts.model import Phase
from understudy_contracts.settings import FailoverSettings
from understudy_lab.cameras import ClipSettings
from understudy_lab.embedded.process import LOOPBACK

READY_WITHIN_S = 60
WITHIN_S = 45


class House:
    """`servers` recording servers with two cameras each, and `spares` failover servers."""

    def __init__(self, control: ControlPlane, site: Site) -> None:
        self.control = control
        self.site = site
        self.processes = control.supervisor

    async def start_failover(self, server: str, spare: str | None = None) -> str:
        failover = await self.site.api.post(f"/servers/{server}/failover", {"failover_server": spare})
        return str(failover["id"])

    async def stop_failover(self, failover: str, **body: str) -> None:
        await self.site.api.post(f"/failovers/{failover}/stop", body)

    async def failover(self, failover: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.site.api.get(f"/failovers/{failover}")
        return found

    async def reaches(self, failover: str, *phases: Phase) -> None:
        async def look() -> None:
            found = await self.failover(failover)
            if found["phase"] not in phases:
                raise NotYet(f"{failover} is {found['phase']}, waits for {found.get('waiting_for')}")

        await wait_for(f"{failover} {phases}", look, within_s=WITHIN_S, every_s=0.05)

    async def failovers_of(self, server: str) -> list[dict[str, Any]]:
        """Oldest first."""
        found = await self.site.api.items("/failovers", server=server)
        return sorted(found, key=lambda each: int(each["epoch"]))

    async def begun(self, server: str) -> str:
        """The failover of a server that had none before."""

        async def look() -> str:
            for each in await self.failovers_of(server):
                return str(each["id"])
            raise NotYet(f"no failover of {server}: {await self.shown(server)}")

        return await wait_for(f"a failover of {server}", look, within_s=WITHIN_S, every_s=0.05)

    async def shown(self, server: str) -> dict[str, Any]:
        """The server as the API shows it."""
        return {each["name"]: each for each in await self.site.servers()}[server]

    async def successor_of(self, failover: str) -> str:
        async def look() -> str:
            for each in await self.site.api.items("/failovers"):
                if each.get("predecessor") == failover:
                    return str(each["id"])
            raise NotYet(f"nothing goes on for {failover}")

        return await wait_for("a successor", look, within_s=WITHIN_S)

    async def status_is(self, server: str, status: str, *, active: int | None = None) -> None:
        async def look() -> None:
            shown = await self.shown(server)
            if shown["status"] != status or active not in {None, shown["cameras"]["active"]}:
                raise NotYet(f"{server} is {shown['status']} {shown['reason']}, {shown['cameras']}")

        await wait_for(f"{server} {status}", look, within_s=WITHIN_S)

    async def holders(self) -> set[str]:
        return {key["holder"] for key in (await self.site.api.get("/licenses"))["keys"]}


def as_it_stands(plan: ProcessPlan) -> ProcessPlan:
    return plan


@dataclass(frozen=True)
class Plan:
    """What to build: a server is lost after `threshold_s`, `settings` hold for every server, `bus_host` and
    `camera_host` are addresses to listen on, `placed` changes how a machine is started (see Site)."""

    servers: int
    spares: int
    settings: FailoverSettings | None = None
    threshold_s: float = 4.0
    bus_host: str = LOOPBACK
    camera_host: str = LOOPBACK
    clip: ClipSettings = USUAL
    placed: Callable[[ProcessPlan], ProcessPlan] = as_it_stands


@contextlib.asynccontextmanager
async def built(folder: Path, plan: Plan) -> AsyncIterator[House]:
    """A house that is ready."""
    async with contextlib.AsyncExitStack() as stack:
        listen = ListenAddress(plan.bus_host, 0)
        control = await stack.enter_async_context(
            running_control_plane(ControlPlanePlan(folder, listen, bus_host=plan.bus_host), print)
        )
        cameras = await stack.enter_async_context(
            simulated_cameras(
                2 * plan.servers, folder / "logs" / "cameras.log", host=plan.camera_host, clip=plan.clip
            )
        )
        api = await stack.enter_async_context(Api(control.url))
        await api.login(ADMINISTRATOR, control.password)
        site = Site(api, control.supervisor, folder / "machines", plan.placed)
        stack.push_async_callback(site.stop_machines)
        await site.set_up(cameras, plan.servers, plan.spares, plan.threshold_s)
        if plan.settings is not None:
            await api.put("/failover-settings", plan.settings)
        await wait_for("every server ready", site.look_ready, within_s=READY_WITHIN_S)
        yield House(control, site)


@pytest.fixture(scope="session")
def build_house() -> Callable[[Path, Plan], contextlib.AbstractAsyncContextManager[House]]:
    return built


@pytest.fixture(scope="session")
def plan_house() -> type[Plan]:
    return Plan


@pytest.fixture
def house(tmp_path: Path) -> Callable[..., contextlib.AbstractAsyncContextManager[House]]:
    return lambda servers, spares, **more: built(tmp_path / "data", Plan(servers, spares, **more))
