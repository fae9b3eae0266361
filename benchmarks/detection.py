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
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from monitored_site import MonitoredSite, address_of, heartbeat_of, monitored_site, now_ms
from understudy_bus.connection import connect_bus
from understudy_contracts.events import Event, VerdictChanged
from understudy_contracts.machine import CameraEvidence, Heartbeat
from understudy_contracts.model import Action, CameraState, Role, Service
from understudy_contracts.servers import Server
from understudy_contracts.settings import FailoverSettings, TriggerSettings
from understudy_contracts.subjects import Subjects
from understudy_lab.embedded import EmbeddedNats
from understudy_runtime.configuration import BusSettings

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


@contextlib.contextmanager
def machines_process(settings: BusSettings, count: int) -> Iterator[multiprocessing.connection.Connection]:
    """The machines as a process of their own; what it is told its orders with."""
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=run_machines, args=(settings, count, theirs), daemon=True)
    process.start()
    try:
        yield ours
    finally:
        ours.send(None)
        process.join(10)
        with contextlib.suppress(ProcessLookupError):
            process.kill()


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
                    await bus.say(SUBJECTS.heartbeat(address_of(server)), _beat(server, sequence))
            await asyncio.sleep(0)


def _beat(server: Server, sequence: int) -> Heartbeat:
    now = now_ms()
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
        for n in range(CAMERAS if server.role is Role.RECORDING else 0)
    ]
    return heartbeat_of(server, sequence, BEAT_S, cameras=cameras)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(count: int, seconds: float, seed: int) -> dict[str, object]:
    known = all_servers(count)
    async with monitored_site(known) as site:
        result = await _measured(site, known, seconds, random.Random(seed))
    return {"servers": count, "threshold_s": THRESHOLD_S, **result}


async def _measured(
    site: MonitoredSite, known: list[Server], seconds: float, chance: random.Random
) -> dict[str, object]:
    triggered: dict[str, int] = {}
    healthy: set[str] = set()

    async def heard(_subject: str, event: Event) -> None:
        verdict = msgspec.json.decode(event.data, type=VerdictChanged).verdict
        if verdict.action is Action.TRIGGER:
            triggered.setdefault(verdict.server, verdict.since)
        elif verdict.action is Action.NONE:
            healthy.add(verdict.server)

    with machines_process(site.machines, len(known)) as orders:
        async with (
            site.monitor() as monitor,
            connect_bus(site.control, Service.API_GATEWAY.value) as bus,
        ):
            await bus.hear("understudy.evt.server.*.verdict", Event, heard)
            async with asyncio.timeout(120):
                while len(healthy) < len(known):  # noqa: ASYNC110 - filled by a callback
                    await asyncio.sleep(0.1)
            return await _faults(chance, known, orders, site.nats, monitor, seconds, triggered)


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
        died[server.id] = now_ms()
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
    if not 40 <= options.servers <= 5000:
        parser.error("--servers must be from 40 to 5000")
    if not options.json:
        print(f"{options.servers} servers on {SITES} sites, {CAMERAS} cameras each, seed {options.seed}")
    result = asyncio.run(measure(options.servers, options.seconds, options.seed))
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
