"""How fast, how cheap and how right detection is with many servers.

A real NATS server, a real MongoDB, the real monitor as a process of its own; the machines are heartbeats on
real connections, a process of their own too. Faults begin at random phases: some machines fall silent for
good (each must be triggered), others only for less than the threshold, and the bus is restarted once.

    uv run benchmarks/detection.py --servers 1000 [--seconds 60] [--json]

The last line of output is one JSON object (interfaces.md, Benchmarks).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from understudy_bus.authority import AccountSigner, write_authority, write_credentials
from understudy_bus.connection import connect_bus
from understudy_bus.permissions import Permissions
from understudy_contracts.events import Event, VerdictChanged
from understudy_contracts.machine import CameraEvidence, Heartbeat, OwnCameras, Standby
from understudy_contracts.model import Action, CameraState, Role, Service
from understudy_contracts.servers import Server
from understudy_contracts.settings import FailoverSettings, TriggerSettings
from understudy_contracts.subjects import MachineAddress, Subjects
from understudy_lab.embedded import EmbeddedMongo, EmbeddedNats
from understudy_runtime.configuration import BusSettings, ControlSettings
from understudy_store.collections import servers
from understudy_store.database import connect_database

SITES = 20
CAMERAS = 10
THRESHOLD_S = 2.0
BEAT_S = 0.4
SUBJECTS = Subjects()


def all_servers(count: int) -> list[Server]:
    settings = FailoverSettings(disconnection=TriggerSettings(after_s=THRESHOLD_S))
    made = [
        Server(
            f"rs-{n}",
            f"Server {n}",
            Role.RECORDING,
            f"site-{n % SITES}",
            machine=f"m-{n}",
            pairing="all",
            failover_settings=settings,
        )
        for n in range(count - SITES)
    ]
    spares = [
        Server(
            f"fs-{n}", f"Spare {n}", Role.FAILOVER, f"site-{n}", machine=f"s-{n}", failover_settings=settings
        )
        for n in range(SITES)
    ]
    return made + spares


def run_machines(settings: BusSettings, count: int, orders: multiprocessing.connection.Connection) -> None:
    """The machines' side: beats for all, obeys `(machine, silent until)`, ends with None."""
    asyncio.run(_machines(settings, count, orders))


async def _machines(settings: BusSettings, count: int, orders: multiprocessing.connection.Connection) -> None:
    chance = random.Random(1)
    silent_until: dict[str, float] = {}
    known = all_servers(count)
    start = time.monotonic()
    due = [(start + chance.random() * BEAT_S, server) for server in known]
    due.sort(key=lambda entry: entry[0])
    sequence = 0
    async with connect_bus(settings, "machines") as bus:
        while True:
            sequence += 1
            for at, server in due:
                wait = at + (sequence - 1) * BEAT_S - time.monotonic()
                if wait > 0.002:
                    await asyncio.sleep(wait)
                    while orders.poll():
                        order = orders.recv()
                        if order is None:
                            return
                        silent_until |= order
                if time.monotonic() < silent_until.get(server.machine or "", 0.0):
                    continue
                if bus.connected:
                    await bus.say(_subject(server), _beat(server, sequence))
            await asyncio.sleep(0)


def _subject(server: Server) -> str:
    return SUBJECTS.heartbeat(MachineAddress(server.site, server.machine or ""))


def _beat(server: Server, sequence: int) -> Heartbeat:
    now = time.time_ns() // 1_000_000
    recording = server.role is Role.RECORDING
    cameras = [
        CameraEvidence(
            f"{server.id}-{n}",
            CameraState.RECORDING,
            connected_at=now - 1000,
            first_key_frame_at=now - 900,
            last_frame_at=now,
            bytes_written=sequence * 100_000,
            frames_written=sequence * 10,
            frames_received=sequence * 10,
        )
        for n in range(CAMERAS if recording else 0)
    ]
    return Heartbeat(
        machine=server.machine or "",
        site=server.site,
        boot="b",
        sequence=sequence,
        sent_at=now,
        version="0.1.0",
        server=server.id,
        role=server.role,
        duty=OwnCameras() if recording else Standby(),
        configured=True,
        heartbeat_s=BEAT_S,
        cameras=cameras,
    )


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(count: int, seconds: float, seed: int) -> dict[str, object]:
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
            return await _measured(data, nats, mongo, count, seconds, seed)


async def _measured(
    data: Path, nats: EmbeddedNats, mongo: EmbeddedMongo, count: int, seconds: float, seed: int
) -> dict[str, object]:
    chance = random.Random(seed)
    creds = data / "authority" / "api-gateway.creds"
    control = ControlSettings(nats_url=nats.url, nats_credentials=str(creds), mongo_url=mongo.url)
    known = all_servers(count)
    async with connect_database(control) as database:
        for server in known:
            await servers(database).insert(server)
    settings = BusSettings(nats_url=nats.url, nats_credentials=str(data / "machines.creds"))
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    machines = context.Process(target=run_machines, args=(settings, count, theirs), daemon=True)
    machines.start()
    monitor = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "understudy_monitor",
        env={
            **os.environ,
            "UNDERSTUDY_NATS_URL": nats.url,
            "UNDERSTUDY_NATS_CREDENTIALS": str(data / "authority" / "monitor.creds"),
            "UNDERSTUDY_MONGO_URL": mongo.url,
        },
        stderr=(data / "monitor.log").open("wb"),
    )
    triggered: dict[str, int] = {}
    healthy: set[str] = set()

    async def heard(_subject: str, event: Event) -> None:
        verdict = msgspec.json.decode(event.data, type=VerdictChanged).verdict
        if verdict.action is Action.TRIGGER:
            triggered.setdefault(verdict.server, verdict.since)
        elif verdict.action is Action.NONE:
            healthy.add(verdict.server)

    try:
        async with connect_bus(control, Service.API_GATEWAY.value) as bus:
            await bus.hear("understudy.evt.server.*.verdict", Event, heard)
            async with asyncio.timeout(120):
                while len(healthy) < count:  # noqa: ASYNC110 - filled by a callback
                    await asyncio.sleep(0.1)
            result = await _faults(chance, known, ours, nats, monitor.pid, seconds, triggered)
    finally:
        ours.send(None)
        monitor.terminate()
        await monitor.wait()
        machines.join(10)
        with contextlib.suppress(ProcessLookupError):
            machines.kill()
    return {"servers": count, "threshold_s": THRESHOLD_S, **result}


async def _faults(
    chance: random.Random,
    known: list[Server],
    machines: multiprocessing.connection.Connection,
    nats: EmbeddedNats,
    monitor: int,
    seconds: float,
    triggered: dict[str, int],
) -> dict[str, object]:
    recording = [server for server in known if server.role is Role.RECORDING]
    chance.shuffle(recording)
    # No more than a few at once: many together are a cut, which is held.
    doomed = recording[: max(10, len(recording) // 20)]
    stalled = recording[len(doomed) :]
    died: dict[str, int] = {}
    cpu, begun = cpu_seconds(monitor), time.monotonic()
    pause = seconds / len(doomed)
    for server in doomed:
        await asyncio.sleep(pause * chance.uniform(0.8, 1.2))
        died[server.id] = time.time_ns() // 1_000_000
        other = chance.choice(stalled)
        machines.send(
            {
                server.machine: float("inf"),
                other.machine: time.monotonic() + chance.uniform(0, THRESHOLD_S - BEAT_S),
            }
        )
    percent = 100 * (cpu_seconds(monitor) - cpu) / (time.monotonic() - begun)
    await asyncio.sleep(THRESHOLD_S + 2)
    nats.restart()
    await asyncio.sleep(15)
    delays = [(triggered[server] - at) / 1000 for server, at in died.items() if server in triggered]
    ranked = sorted(delays)
    return {
        "cpu_percent": round(percent, 1),
        "delay_p50_s": round(statistics.median(delays), 3) if delays else None,
        "delay_p99_s": round(ranked[min(len(ranked) - 1, int(len(ranked) * 0.99))], 3) if ranked else None,
        "deaths": len(died),
        "deaths_found": len(delays),
        "false_triggers": len(triggered.keys() - died.keys()),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--servers", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="nothing but the JSON object")
    options = parser.parse_args()
    if not 30 <= options.servers <= 5000:
        parser.error("--servers must be from 30 to 5000")
    if not options.json:
        print(f"{options.servers} servers on {SITES} sites, {CAMERAS} cameras each, seed {options.seed}")
    result = asyncio.run(measure(options.servers, options.seconds, options.seed))
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
