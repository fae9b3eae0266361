"""The demo's servers: added, paired and given cameras through the public API, each machine a process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from understudy_contracts.failovers import Failover
from understudy_contracts.licenses import LedgerEntry
from understudy_contracts.model import Role, Status
from understudy_contracts.settings import FailoverSettings, TriggerSettings

from understudy_cli.api import CONFIRMATION_REQUIRED, Api, ApiProblem
from understudy_cli.demo.cameras import Cameras, SimulatedCamera
from understudy_cli.demo.waiting import NotYet, wait_for
from understudy_cli.processes import ProcessPlan
from understudy_cli.supervisor import Supervisor

READY_WITHIN_S: Final = 90.0
SETTLING_S: Final = 1.0
HOLD_DOWN_S: Final = 10.0


@dataclass(frozen=True)
class Member:
    """One server of the demo. `id` is the API's, `name` ours; its process has the same name."""

    name: str
    id: str
    role: Role
    cameras: list[str]


class Site:
    """Adds servers and asks about them; `machines` is the folder of their data folders.

    `placed` may change how a machine's process is started: where it stands, what it listens on.
    """

    def __init__(
        self,
        api: Api,
        supervisor: Supervisor,
        machines: Path,
        placed: Callable[[ProcessPlan], ProcessPlan] = lambda plan: plan,
    ) -> None:
        self.api = api
        self.supervisor = supervisor
        self.machines = machines
        self._placed = placed
        self.members: list[Member] = []
        self._settings = FailoverSettings()

    @property
    def recording_servers(self) -> list[Member]:
        return [member for member in self.members if member.role is Role.RECORDING]

    def data_dir(self, name: str) -> Path:
        return self.machines / name

    async def set_up(self, cameras: Cameras, servers: int, spares: int, threshold_s: float) -> None:
        """Add everything and start every machine; they are not ready yet when this returns."""
        self._settings = FailoverSettings(
            disconnection=TriggerSettings(after_s=threshold_s),
            stop_automatically=True,
            settling_s=SETTLING_S,
            hold_down_s=HOLD_DOWN_S,
        )
        await self.api.put("/failover-settings", self._settings)
        per_server = len(cameras.cameras) // servers
        for number in range(1, spares + 1):
            await self._add(f"spare-{number}", Role.FAILOVER, [])
        for number in range(1, servers + 1):
            own = cameras.cameras[(number - 1) * per_server : number * per_server]
            member = await self._add(f"server-{number}", Role.RECORDING, own)
            keys = [f"DEMO-{number:03d}-{key:04d}" for key in range(1, per_server + 1)]
            await self.api.post("/licenses", {"keys": keys, "server": member.id})
            for camera in own:
                await self._add_camera(member, camera, cameras)

    async def _add(self, name: str, role: Role, cameras: list[SimulatedCamera]) -> Member:
        body: dict[str, Any] = {"name": name, "role": str(role)}
        if role is Role.RECORDING:
            body["pairing"] = "all"
        try:
            added = await self.api.post("/servers", body)
        except ApiProblem as problem:
            if problem.kind != CONFIRMATION_REQUIRED:
                raise
            # The machine is ours and new: nothing is lost by erasing it (M1).
            added = await self.api.post("/servers", {**body, "confirmation": problem.details["confirmation"]})
        member = Member(name, added["server"]["id"], role, [camera.id for camera in cameras])
        self.members.append(member)
        plan = ProcessPlan(
            name,
            [
                *("-m", "understudy_recording_server"),
                *("--data-dir", str(self.data_dir(name))),
                *("--join", self.api.url),
            ],
            {"UNDERSTUDY_JOIN_TOKEN": added["join_token"]},
        )
        await self.supervisor.start(self._placed(plan))
        return member

    async def _add_camera(self, member: Member, camera: SimulatedCamera, cameras: Cameras) -> None:
        await self.api.post(
            f"/servers/{member.id}/cameras",
            {
                "id": camera.id,
                "name": camera.id,
                "source": {
                    "url": camera.url,
                    "username": cameras.username,
                    "password": cameras.password,
                    "transport": "tcp",
                },
            },
        )

    async def servers(self) -> list[dict[str, Any]]:
        """The servers as the API shows them, in the order in which people look for them."""
        return sorted(
            await self.api.items("/servers"),
            key=lambda server: (server["role"] != "recording", server["name"]),
        )

    async def statuses(self) -> dict[str, str]:
        return {server["name"]: server["status"] for server in await self.servers()}

    async def look_ready(self, since: int = 0) -> None:
        """
        Raises:
            NotYet: a server is not normal and protected, or on standby, or a camera is not recorded, or it
                has not been heard of after `since`, UTC milliseconds.
        """
        shown = {server["id"]: server for server in await self.servers()}
        for member in self.members:
            self.supervisor.raise_if_failed()
            server = shown[member.id]
            if (server["last_seen"] or 0) < since:
                raise NotYet(f"nothing was heard of {member.name} yet")
            usual = Status.NORMAL if member.role is Role.RECORDING else Status.STANDBY
            if server["status"] != usual:
                raise NotYet(f"{member.name} is {server['status']} {server.get('reason') or ''}".strip())
            if member.role is Role.RECORDING:
                active = server["cameras"]["active"]
                if active < len(member.cameras):
                    raise NotYet(f"{member.name} records {active} of {len(member.cameras)} cameras")
                if not server["protected"]:
                    raise NotYet(f"{member.name} is not protected: {server.get('protection') or 'no reason'}")

    async def failovers_of(self, member: Member) -> list[Failover]:
        """Every failover of a server, oldest first."""
        found = [
            msgspec.convert(item, Failover) for item in await self.api.items("/failovers", server=member.id)
        ]
        return sorted(found, key=lambda failover: failover.epoch)

    async def ledger(self) -> list[LedgerEntry]:
        """The whole ledger, page by page."""
        entries: list[LedgerEntry] = []
        while True:
            after = entries[-1].position if entries else 0
            page = (await self.api.get("/licenses", after=after))["ledger"]
            if not page:
                return entries
            entries.extend(msgspec.convert(page, list[LedgerEntry]))

    async def stop_machines(self) -> None:
        """End every machine politely, so that it finishes its files."""
        await self.supervisor.stop_together(member.name for member in self.members)

    async def halt(self) -> int:
        """The same as an administrator would do it: nobody is to stand in for machines that are stopped on
        purpose. Returns when they were told to stop, UTC milliseconds."""
        quiet = msgspec.structs.replace(self._settings.disconnection, enabled=False)
        await self.api.put("/failover-settings", msgspec.structs.replace(self._settings, disconnection=quiet))
        stopped_at = time.time_ns() // 1_000_000
        await self.stop_machines()
        return stopped_at

    async def go_on(self) -> None:
        """Start every machine again after `halt`."""
        since = time.time_ns() // 1_000_000
        await asyncio.gather(*(self.supervisor.start_again(member.name) for member in self.members))
        await wait_for("every server ready again", lambda: self.look_ready(since), within_s=READY_WITHIN_S)
        await self.api.put("/failover-settings", self._settings)
