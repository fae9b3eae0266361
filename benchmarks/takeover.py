"""How long a takeover takes, from the accepted command (or the fault) to the last camera's first key frame.

The whole product as in `understudy demo`: real processes, real streams, one recording server with all the
cameras and one failover server. Each run starts a failover (by hand, or by kill -9 with `--fault kill`),
waits until every camera is confirmed, stops it, and waits until everything is as before.

    uv run benchmarks/takeover.py --cameras 90 --runs 5 [--fault manual|kill] [--json]

The cameras are simulated (720p25, 2 Mbit/s, a key frame each second, joined at random phase) and run on the
same machine. The last line of output is one JSON object (interfaces.md, Benchmarks); with `--fault kill` it
also has `outage_s`, from the kill to the last camera's first key frame.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
from understudy_cli.addresses import ListenAddress
from understudy_cli.api import Api
from understudy_cli.control_plane import ControlPlanePlan, running_control_plane
from understudy_cli.demo.cameras import simulated_cameras
from understudy_cli.demo.site import Site
from understudy_cli.demo.waiting import NotYet, wait_for
from understudy_cli.settings import ADMINISTRATOR
from understudy_contracts.failovers import Failover
from understudy_contracts.model import Phase

GOP_S = 1.0
THRESHOLD_S = 2.0
WITHIN_S = 180.0


async def measure(cameras: int, runs: int, fault: str, say: bool) -> dict[str, Any]:
    def tell(text: str) -> None:
        if say:
            print(text, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        async with contextlib.AsyncExitStack() as stack:
            plan = ControlPlanePlan(data, ListenAddress("127.0.0.1", 0))
            control = await stack.enter_async_context(running_control_plane(plan, tell))
            streams = await stack.enter_async_context(
                simulated_cameras(cameras, data / "logs" / "cameras.log")
            )
            api = await stack.enter_async_context(Api(control.url))
            await api.login(ADMINISTRATOR, control.password)
            site = Site(api, control.supervisor, data / "machines")
            stack.push_async_callback(site.stop_machines)
            await site.set_up(streams, 1, 1, THRESHOLD_S)
            await wait_for("every server ready", site.look_ready, within_s=WITHIN_S)
            measured = []
            for number in range(runs):
                failover, fault_at = await _take_over(site, fault)
                measured.append((failover, fault_at))
                tell(f"run {number + 1}: {_takeover_s(failover):.2f} s")
                await _come_home(site, failover)
            return _figures(cameras, fault, measured)


async def _take_over(site: Site, fault: str) -> tuple[Failover, int]:
    server = site.recording_servers[0]
    before = {failover.id for failover in await site.failovers_of(server)}
    fault_at = time.time_ns() // 1_000_000
    if fault == "kill":
        await site.supervisor.kill(server.name, restart=False)
    else:
        await site.api.post(f"/servers/{server.id}/failover", {"failover_server": None})

    async def active() -> Failover:
        for failover in await site.failovers_of(server):
            if failover.id not in before and failover.phase is Phase.ACTIVE:
                missing = [c.camera for c in failover.cameras if c.first_key_frame_at is None]
                if not missing:
                    return failover
        raise NotYet("not every camera is confirmed yet")

    return await wait_for("the takeover", active, within_s=WITHIN_S), fault_at


async def _come_home(site: Site, failover: Failover) -> None:
    server = site.recording_servers[0]
    since = time.time_ns() // 1_000_000
    if failover.automatic:
        await site.supervisor.start_again(server.name)
    else:
        await site.api.post(f"/failovers/{failover.id}/stop", {})

    async def done() -> None:
        current = msgspec.convert(await site.api.get(f"/failovers/{failover.id}"), Failover)
        if current.phase is not Phase.DONE:
            raise NotYet(f"{current.id} is {current.phase}: {current.waiting_for}")

    await wait_for("the end of the failover", done, within_s=WITHIN_S)
    await wait_for("every server ready again", lambda: site.look_ready(since), within_s=WITHIN_S)
    # The hold-down time of an automatic failover passes before the next one may begin.
    if failover.automatic:
        await asyncio.sleep(11)


def _takeover_s(failover: Failover) -> float:
    return max((c.first_key_frame_at or 0) - failover.created_at for c in failover.cameras) / 1000


def _connected_s(failover: Failover) -> float:
    return max((c.connected_at or 0) - failover.created_at for c in failover.cameras) / 1000


def _control_ms(failover: Failover) -> int:
    """Until the failover server was told to open the streams: all that is not opening them."""
    return max(s.ended_at or 0 for s in failover.steps if s.name == "activate") - failover.created_at


def _figures(cameras: int, fault: str, measured: list[tuple[Failover, int]]) -> dict[str, Any]:
    def spread(values: list[float]) -> dict[str, float]:
        return {"median": round(statistics.median(values), 3), "max": round(max(values), 3)}

    failovers = [failover for failover, _ in measured]
    result: dict[str, Any] = {
        "cameras": cameras,
        "gop_s": GOP_S,
        "fault": fault,
        "takeover_s": spread([_takeover_s(failover) for failover in failovers]),
        "connected_s": spread([_connected_s(failover) for failover in failovers]),
        "control_ms": spread([float(_control_ms(failover)) for failover in failovers]),
        "steps": {
            name: round(
                statistics.median(
                    [
                        float((s.ended_at or s.started_at) - s.started_at)
                        for failover in failovers
                        for s in failover.steps
                        if s.name == name
                    ]
                )
            )
            for name in ("move-keys", "open-copy", "activate")
        },
    }
    if fault == "kill":
        result["threshold_s"] = THRESHOLD_S
        result["outage_s"] = spread(
            [_takeover_s(failover) + (failover.created_at - at) / 1000 for failover, at in measured]
        )
    return result


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cameras", type=int, default=90)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--fault", choices=["manual", "kill"], default="manual")
    parser.add_argument("--json", action="store_true", help="nothing but the JSON object")
    options = parser.parse_args()
    if not 1 <= options.cameras <= 200 or not 1 <= options.runs <= 100:
        parser.error("--cameras must be from 1 to 200, --runs from 1 to 100")
    print(json.dumps(asyncio.run(measure(options.cameras, options.runs, options.fault, not options.json))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
