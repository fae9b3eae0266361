"""`understudy demo` from beginning to end."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from rich.live import Live
from understudy_contracts.errors import InvalidInput, Unavailable, UnderstudyError

from understudy_cli.addresses import ListenAddress
from understudy_cli.api import Api
from understudy_cli.control_plane import ControlPlane, ControlPlanePlan, running_control_plane
from understudy_cli.demo.cameras import Cameras, simulated_cameras
from understudy_cli.demo.folder import demo_folder, require_writable_file
from understudy_cli.demo.outage import Outage
from understudy_cli.demo.progress import Narrator
from understudy_cli.demo.promises import promises_kept
from understudy_cli.demo.report import report_of
from understudy_cli.demo.site import READY_WITHIN_S, Site
from understudy_cli.demo.waiting import wait_for
from understudy_cli.settings import ADMINISTRATOR
from understudy_cli.tables import server_table

_REFRESH_S: Final = 1.0


class PromiseBroken(UnderstudyError):
    """The scenario went to its end, and showed that something does not work."""

    code = "promise-broken"


@dataclass(frozen=True)
class DemoPlan:
    """`cameras` per server; `threshold_s` is how long a server may be silent; without `data_dir` a temporary
    folder is used, and removed unless something went wrong."""

    servers: int
    spares: int
    cameras: int
    threshold_s: float
    outage: bool
    kill_orchestrator: bool
    exit: bool
    data_dir: Path | None
    report: Path | None
    listen: ListenAddress
    nats_url: str
    mongo_url: str

    def __post_init__(self) -> None:
        if self.outage and self.spares < 1:
            raise InvalidInput("the scenario needs a failover server: give --spares 1 or more")
        if (self.report or self.kill_orchestrator) and not self.outage:
            raise InvalidInput("there is nothing to report without a scenario: add --scenario outage")
        if self.report is not None:
            require_writable_file(self.report)


async def demo(plan: DemoPlan, narrator: Narrator) -> None:
    """Run it.

    Raises:
        PromiseBroken: one of those that were checked.
    """
    with demo_folder(plan.data_dir, narrator.note) as data_dir:
        await _demo(plan, data_dir, narrator)


async def _demo(plan: DemoPlan, data_dir: Path, narrator: Narrator) -> None:
    control_plan = ControlPlanePlan(data_dir, plan.listen, plan.nats_url, plan.mongo_url)
    count = plan.servers * plan.cameras
    async with contextlib.AsyncExitStack() as stack:
        with narrator.step("control plane ready"):
            starting_cameras = simulated_cameras(count, data_dir / "logs" / "cameras.log")
            control = await stack.enter_async_context(running_control_plane(control_plan, narrator.note))
        narrator.note(f"console {control.url}/  login {ADMINISTRATOR}  password {control.password}")
        with narrator.step(f"{count} simulated cameras"):
            cameras = await stack.enter_async_context(starting_cameras)
        api = await stack.enter_async_context(Api(control.url))
        await api.login(ADMINISTRATOR, control.password)
        site = Site(api, control.supervisor, data_dir / "machines")
        # Machines end before the cameras do: else their recorders would complain about them.
        stack.push_async_callback(site.stop_machines)
        with narrator.step(f"{plan.servers} recording and {plan.spares} failover servers ready"):
            await site.set_up(cameras, plan.servers, plan.spares, plan.threshold_s)
            await wait_for("every server ready", site.look_ready, within_s=READY_WITHIN_S)
        if plan.outage:
            await _outage(plan, site, cameras, narrator)
        if not plan.exit:
            if plan.outage:
                with narrator.step("every server started again"):
                    await site.go_on()
            await _show(site, control, narrator)


async def _outage(plan: DemoPlan, site: Site, cameras: Cameras, narrator: Narrator) -> None:
    scenario = Outage(
        site, cameras, narrator, threshold_s=plan.threshold_s, kill_orchestrator=plan.kill_orchestrator
    )
    evidence = await scenario.run()
    report = report_of(evidence)
    promises = promises_kept(evidence, report, {member.name: member.role for member in site.members})
    if plan.report is not None:
        body = {**msgspec.to_builtins(report), "promises": promises}
        plan.report.write_bytes(msgspec.json.format(msgspec.json.encode(body), indent=2) + b"\n")
    for promise in promises:
        narrator.promise(promise)
    broken = sum(1 for promise in promises if not promise.held)
    if broken:
        raise PromiseBroken(f"{broken} of {len(promises)} promises did not hold")


async def _show(site: Site, control: ControlPlane, narrator: Narrator) -> None:
    """A small table of the servers, live on a terminal, until cancelled."""
    narrator.note(f"console {control.url}/; Ctrl-C ends the demo")
    if not narrator.console.is_terminal:
        narrator.console.print(server_table(await site.servers()))
        await asyncio.Event().wait()
    with Live(console=narrator.console, auto_refresh=False) as live:
        while True:
            with contextlib.suppress(Unavailable):  # a service is being started again: the table stays
                live.update(server_table(await site.servers()), refresh=True)
            await asyncio.sleep(_REFRESH_S)
