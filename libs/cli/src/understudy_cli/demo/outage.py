"""The scenario `outage`: a recording server dies by kill -9, is taken over, comes back, gets its footage."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from understudy_contracts.failovers import Failover
from understudy_contracts.model import Phase, Service
from understudy_footage import FootageRoot

from understudy_cli.demo.cameras import FPS, GOP_S, Cameras
from understudy_cli.demo.files import Keepsakes, inspect, is_clean
from understudy_cli.demo.progress import Narrator
from understudy_cli.demo.report import Evidence
from understudy_cli.demo.site import Member, Site
from understudy_cli.demo.waiting import DemoFailed, NotYet, wait_for

BEFORE_S: Final = 6.0
"""How long all record before the fault: a few key frame intervals of footage that must not be hurt."""
DURING_S: Final = 5.0
AFTER_S: Final = 4.0
DETECTED_WITHIN_S: Final = 30.0
TAKEN_OVER_WITHIN_S: Final = 45.0
ENDED_WITHIN_S: Final = 90.0
_KEEP_EVERY_S: Final = 0.1
_LOOK_CLOSELY_S: Final = 0.02
_EARLY = (Phase.LICENSING, Phase.ACTIVATING)


class Outage:
    """One run of the scenario on a site that is ready."""

    def __init__(
        self, site: Site, cameras: Cameras, narrator: Narrator, *, threshold_s: float, kill_orchestrator: bool
    ) -> None:
        self._site = site
        self._cameras = cameras
        self._narrator = narrator
        self._threshold_s = threshold_s
        self._kill_orchestrator = kill_orchestrator
        self._victim = site.recording_servers[0]
        self._orchestrator_killed_in = ""

    async def run(self) -> Evidence:
        """Carry it out and gather what the files and the API tell. The machines are stopped afterwards.

        Raises:
            DemoFailed: it did not go on to its end.
        """
        note = self._narrator.note
        with self._narrator.step(f"all servers record for {BEFORE_S:.0f} s"):
            await asyncio.sleep(BEFORE_S)
        killed_at = await self._site.supervisor.kill(self._victim.name, restart=False)
        note(f"{self._victim.name} killed with kill -9: agent and recorder")
        with self._narrator.step("automatic failover began"):
            failover = await self._began()
        spare = self._member(failover)
        async with self._keepsakes(spare, failover) as keepsakes:
            with self._narrator.step(f"{spare.name} serves for {self._victim.name}: every camera recorded"):
                await self._active()
                first_key_frames = await wait_for(
                    "key frames on the failover server's disk",
                    lambda: self._all_key_frames(keepsakes),
                    within_s=TAKEN_OVER_WITHIN_S,
                )
            await asyncio.sleep(DURING_S)
            await self._site.supervisor.start_again(self._victim.name)
            note(f"{self._victim.name} started again")
            with self._narrator.step(f"{self._victim.name} records again, its footage came home"):
                await wait_for(f"the end of failover {failover.id}", self._done, within_s=ENDED_WITHIN_S)
                await wait_for("every server as before", self._site.look_ready, within_s=ENDED_WITHIN_S)
            await asyncio.sleep(AFTER_S)
            failovers = await self._site.failovers_of(self._victim)
            statuses, ledger = await self._site.statuses(), await self._site.ledger()
            self._cameras.require_running()
            with self._narrator.step("all files finished and read, frame by frame"):
                stopped_at = await self._site.halt()
                machines = [self._site.data_dir(member.name) for member in self._site.members]
                seen = await asyncio.to_thread(inspect, machines, FPS)
                home = FootageRoot(self._site.data_dir(self._victim.name))
                homecoming = await asyncio.to_thread(keepsakes.compare, home)
            return Evidence(
                killed_at=killed_at,
                stopped_at=stopped_at,
                gop_s=GOP_S,
                victim_cameras=self._victim.cameras,
                all_cameras=[camera for member in self._site.members for camera in member.cameras],
                failovers=failovers,
                first_key_frames=first_key_frames,
                footage=seen.footage,
                ledger=ledger,
                homecoming=homecoming,
                failover_server_clean=is_clean(self._site.data_dir(spare.name)),
                statuses=statuses,
                unreadable_files=seen.unreadable,
                unfinished_files=seen.unfinished,
                orchestrator_killed_in=self._orchestrator_killed_in,
            )

    async def _began(self) -> Failover:
        failover = await wait_for(
            f"an automatic failover of {self._victim.name}",
            self._look_began,
            within_s=self._threshold_s + DETECTED_WITHIN_S,
            every_s=_LOOK_CLOSELY_S,
        )
        if self._kill_orchestrator:
            # The very next moment may be another phase: what is told is the phase that was seen last.
            await self._site.supervisor.kill(Service.ORCHESTRATOR, restart=True)
            self._orchestrator_killed_in = str(failover.phase)
            self._narrator.note(f"orchestrator killed with kill -9 while {failover.phase}")
        return failover

    async def _look_began(self) -> Failover:
        failover = await self._look()
        if failover.failover_server is None or failover.phase is Phase.WAITING:
            raise NotYet(f"{failover.id} waits: {failover.waiting_for or 'no reason given'}")
        return failover

    async def _active(self) -> None:
        async def look() -> None:
            failover = await self._look()
            if failover.phase in {Phase.WAITING, *_EARLY, Phase.STANDING_DOWN}:
                raise NotYet(_words(failover))

        await wait_for("takeover", look, within_s=TAKEN_OVER_WITHIN_S)

    async def _done(self) -> None:
        failover = await self._look()
        if failover.phase is not Phase.DONE:
            raise NotYet(_words(failover))

    async def _look(self) -> Failover:
        self._site.supervisor.raise_if_failed()
        failovers = await self._site.failovers_of(self._victim)
        if not failovers:
            raise NotYet("no failover was started")
        return failovers[0]

    async def _all_key_frames(self, keepsakes: Keepsakes) -> dict[str, int]:
        found = await asyncio.to_thread(keepsakes.first_key_frames)
        missing = [camera for camera in self._victim.cameras if camera not in found]
        if missing:
            raise NotYet(f"no key frame of {', '.join(missing)}")
        return found

    def _member(self, failover: Failover) -> Member:
        for member in self._site.members:
            if member.id == failover.failover_server:
                return member
        raise DemoFailed(f"{failover.id} chose {failover.failover_server}, which the demo has not added")

    @contextlib.asynccontextmanager
    async def _keepsakes(self, spare: Member, failover: Failover) -> AsyncIterator[Keepsakes]:
        source = FootageRoot(self._site.data_dir(spare.name)).failover(failover.id)
        keepsakes = Keepsakes(source, self._site.machines.parent / "evidence")

        async def keep() -> None:
            while True:
                await asyncio.to_thread(keepsakes.keep)
                await asyncio.sleep(_KEEP_EVERY_S)

        keeping = asyncio.create_task(keep())
        try:
            yield keepsakes
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])
            keepsakes.forget()


def _words(failover: Failover) -> str:
    waits = f", waits: {failover.waiting_for}" if failover.waiting_for else ""
    errors = [f"{step.name}: {step.error}" for step in failover.steps if step.error]
    last = f", {errors[-1]}" if errors else ""
    return f"{failover.id} is {failover.phase}{waits}{last}"
