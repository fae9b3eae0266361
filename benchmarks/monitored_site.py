"""What the monitor is measured in: a real NATS server, a real MongoDB, the real monitor as a process of its
own, and servers whose machines the benchmark plays, by saying what an agent would.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from understudy_bus.authority import AccountSigner, write_authority, write_credentials
from understudy_bus.permissions import Permissions
from understudy_contracts.machine import CameraEvidence, Heartbeat, OwnCameras, Recorder, Standby
from understudy_contracts.model import Role
from understudy_contracts.servers import Server
from understudy_contracts.subjects import MachineAddress
from understudy_lab.embedded import EmbeddedMongo, EmbeddedNats
from understudy_runtime.configuration import BusSettings, ControlSettings
from understudy_store.collections import servers
from understudy_store.database import connect_database


@dataclass(frozen=True)
class MonitoredSite:
    """`control` connects as the API gateway, `machines` as all machines at once."""

    data: Path
    nats: EmbeddedNats
    mongo: EmbeddedMongo
    control: ControlSettings
    machines: BusSettings

    @contextlib.asynccontextmanager
    async def monitor(self) -> AsyncIterator[int]:
        """The monitor, as the product starts it; its process id."""
        with (self.data / "monitor.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "understudy_monitor",
                env={
                    **os.environ,
                    "UNDERSTUDY_NATS_URL": self.nats.url,
                    "UNDERSTUDY_NATS_CREDENTIALS": _credentials(self.data, "monitor"),
                    "UNDERSTUDY_MONGO_URL": self.mongo.url,
                },
                stderr=log,
            )
            try:
                yield process.pid
            finally:
                process.terminate()
                await process.wait()


@contextlib.asynccontextmanager
async def monitored_site(known: Iterable[Server]) -> AsyncIterator[MonitoredSite]:
    """A site with these servers; nobody watches it yet."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        write_authority(data / "authority")
        account = AccountSigner.from_file(str(data / "authority" / "account.seed"))
        everything = Permissions(["understudy.site.>"], ["_INBOX.machines.>"])
        write_credentials(data / "machines.creds", account, "machines", everything)
        trusted = (data / "authority" / "nats-authority.conf").read_text()
        with (
            EmbeddedNats.start(data / "nats", extra_config=trusted) as nats,
            EmbeddedMongo.start(data / "mongo") as mongo,
        ):
            control = ControlSettings(
                nats_url=nats.url, nats_credentials=_credentials(data, "api-gateway"), mongo_url=mongo.url
            )
            async with connect_database(control) as database:
                for server in known:
                    await servers(database).insert(server)
            machines = BusSettings(nats_url=nats.url, nats_credentials=str(data / "machines.creds"))
            yield MonitoredSite(data, nats, mongo, control, machines)


def address_of(server: Server) -> MachineAddress:
    return MachineAddress(server.site, server.machine or "")


def heartbeat_of(
    server: Server,
    sequence: int,
    heartbeat_s: float,
    *,
    cameras: Sequence[CameraEvidence] = (),
    recorder: Recorder | None = None,
) -> Heartbeat:
    """What the machine of `server` says now, when it does its duty and no failover is on."""
    return Heartbeat(
        machine=server.machine or "",
        site=server.site,
        boot="b",
        sequence=sequence,
        sent_at=now_ms(),
        version="0.1.0",
        server=server.id,
        role=server.role,
        duty=OwnCameras() if server.role is Role.RECORDING else Standby(),
        configured=True,
        heartbeat_s=heartbeat_s,
        recorder=recorder or Recorder(),
        cameras=list(cameras),
    )


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def _credentials(data: Path, service: str) -> str:
    return str(data / "authority" / f"{service}.creds")
