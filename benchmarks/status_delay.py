"""How soon a status is published after the change that it tells of.

A real NATS server, a real MongoDB, the real monitor as a process of its own. Machines speak as agents do. One
after another, at random moments, reports at once that its recorder was switched off or on again, which
changes its verdict and its status. Two times are taken until the status event is on the bus: from the verdict
(the monitor's own `since`), and from the machine's report.

    uv run benchmarks/status_delay.py [--servers 50] [--changes 200] [--json]

The last line of output is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys

import msgspec
from monitored_site import MonitoredSite, address_of, heartbeat_of, monitored_site, now_ms
from understudy_bus.connection import Bus, connect_bus
from understudy_contracts.events import Event, StatusChanged, VerdictChanged
from understudy_contracts.machine import Heartbeat, Recorder
from understudy_contracts.model import RecorderState, Role, Service, Status
from understudy_contracts.servers import Server
from understudy_contracts.settings import FailoverSettings, TriggerSettings

BEAT_S = 0.5
PATIENCE_S = 10.0


class Machine:
    """The bus side of an agent: its whole state, said regularly and at once after a change."""

    def __init__(self, bus: Bus, server: Server) -> None:
        self.server = server
        self.status: Status | None = None
        self._bus = bus
        self._address = address_of(server)
        self._recorder = Recorder()
        self._sequence = 0

    async def speak(self, first_after_s: float) -> None:
        await asyncio.sleep(first_after_s)
        while True:
            await self._bus.say(self._bus.subjects.heartbeat(self._address), self._state())
            await asyncio.sleep(BEAT_S)

    async def switch_recorder(self) -> Status:
        """Switch it off or on; the status that this must lead to."""
        off = self._recorder.state is RecorderState.RUNNING
        self._recorder = Recorder(RecorderState.DISABLED if off else RecorderState.RUNNING)
        await self._bus.say(self._bus.subjects.report(self._address, "state"), self._state())
        return Status.OTHERS if off else Status.NORMAL

    def _state(self) -> Heartbeat:
        self._sequence += 1
        return heartbeat_of(self.server, self._sequence, BEAT_S, recorder=self._recorder)


class Ear:
    """What the monitor publishes, with the time at which it came."""

    def __init__(self) -> None:
        self.status: dict[str, tuple[Status, int]] = {}
        self.verdict_since: dict[str, int] = {}
        self.came = asyncio.Condition()

    async def heard(self, _subject: str, event: Event) -> None:
        at = now_ms()
        async with self.came:
            if event.event == "verdict":
                verdict = msgspec.json.decode(event.data, type=VerdictChanged).verdict
                self.verdict_since[verdict.server] = verdict.since
            elif event.event == "status":
                status = msgspec.json.decode(event.data, type=StatusChanged).status
                self.status[status.server] = status.status, at
            self.came.notify_all()

    async def until_status(self, server: str, wanted: Status) -> int:
        """When it came, in UTC milliseconds."""
        async with asyncio.timeout(PATIENCE_S), self.came:
            while (known := self.status.get(server)) is None or known[0] is not wanted:
                await self.came.wait()
        return known[1]


async def measure(count: int, changes: int, seed: int) -> dict[str, object]:
    settings = FailoverSettings(disconnection=TriggerSettings(after_s=60.0))
    known = [
        Server(f"rs-{n}", f"Server {n}", Role.RECORDING, "a", machine=f"m-{n}", failover_settings=settings)
        for n in range(count)
    ]
    async with monitored_site(known) as site:
        from_report, from_verdict = await _measured(site, known, changes, random.Random(seed))
    return {
        "servers": count,
        "changes": changes,
        "verdict_to_status_ms": _figures(from_verdict),
        "report_to_status_ms": _figures(from_report),
    }


async def _measured(
    site: MonitoredSite, known: list[Server], changes: int, chance: random.Random
) -> tuple[list[int], list[int]]:
    """From report and from verdict to status, in milliseconds."""
    ear = Ear()
    async with (
        connect_bus(site.control, Service.API_GATEWAY.value) as ours,
        connect_bus(site.machines, "machines") as bus,
        site.monitor(),
        asyncio.TaskGroup() as tasks,
    ):
        await ours.hear("understudy.evt.server.>", Event, ear.heard)
        machines = [Machine(bus, server) for server in known]
        speaking = [tasks.create_task(machine.speak(chance.random() * BEAT_S)) for machine in machines]
        async with asyncio.timeout(60):
            await asyncio.gather(*(_until_normal(ear, server) for server in known))
        delays = await _changes(ear, machines, changes, chance)
        for task in speaking:
            task.cancel()
    return delays


async def _until_normal(ear: Ear, server: Server) -> None:
    async with ear.came:
        while (known := ear.status.get(server.id)) is None or known[0] is not Status.NORMAL:
            await ear.came.wait()


async def _changes(
    ear: Ear, machines: list[Machine], changes: int, chance: random.Random
) -> tuple[list[int], list[int]]:
    from_report, from_verdict = [], []
    for _ in range(changes):
        await asyncio.sleep(chance.uniform(0.02, 0.2))
        machine = chance.choice(machines)
        begun = now_ms()
        wanted = await machine.switch_recorder()
        came = await ear.until_status(machine.server.id, wanted)
        from_report.append(came - begun)
        from_verdict.append(came - ear.verdict_since[machine.server.id])
    return from_report, from_verdict


def _figures(delays: list[int]) -> dict[str, float]:
    ranked = sorted(delays)
    p99 = ranked[min(len(ranked) - 1, int(len(ranked) * 0.99))]
    return {"median": statistics.median(ranked), "p99": p99, "max": ranked[-1]}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--servers", type=int, default=50)
    parser.add_argument("--changes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="nothing but the JSON object")
    options = parser.parse_args()
    if not 1 <= options.servers <= 500 or not 1 <= options.changes <= 100_000:
        parser.error("--servers must be from 1 to 500, --changes from 1 to 100000")
    if not options.json:
        print(f"{options.servers} servers, {options.changes} changes, seed {options.seed}")
    print(json.dumps(asyncio.run(measure(options.servers, options.changes, options.seed))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
