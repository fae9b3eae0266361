"""Heartbeats: the whole state, at an even pace, and at once after each change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import nats.errors
import structlog
from understudy_bus.connection import Bus
from understudy_contracts.machine import Heartbeat, RestorationProgress
from understudy_contracts.subjects import MachineAddress

COALESCE_S = 0.05
STATE_REPORT = "state"
RESTORATION_REPORT = "restoration"

log = structlog.get_logger()


class Heartbeats:
    """`state` makes the message, anew each time; `interval_s` may change while it beats."""

    def __init__(
        self, address: MachineAddress, state: Callable[[], Heartbeat], interval_s: Callable[[], float]
    ) -> None:
        self._address = address
        self._state = state
        self._interval_s = interval_s
        self._changed = asyncio.Event()
        self._progress: dict[str, RestorationProgress] = {}

    def change(self) -> None:
        """Something changed that the host should know at once."""
        self._changed.set()

    def progress(self, progress: RestorationProgress) -> None:
        """A restoration has come on; the last word on each is sent with the next message."""
        self._progress[progress.failover] = progress
        self._changed.set()

    async def run(self, bus: Bus) -> None:
        """Beat on this connection until it is closed for good. While it is interrupted nothing is sent, and
        nothing kept to be sent later: what counts is the state then."""
        self._changed.set()
        due = time.monotonic()
        while not bus.client.is_closed:
            changed = await self._wait(due - time.monotonic())
            if time.monotonic() >= due:
                await self._say(bus, bus.subjects.heartbeat(self._address))
                due = max(due + self._interval_s(), time.monotonic())
                if not changed:
                    continue
            if changed:
                await asyncio.sleep(COALESCE_S)
                self._changed.clear()
                await self._say(bus, bus.subjects.report(self._address, STATE_REPORT))
                await self._say_progress(bus)

    async def _wait(self, for_s: float) -> bool:
        """Whether there is something to tell, after waiting for that at most this long."""
        if for_s > 0:
            # Not wait_for: in Python 3.11 it can lose a cancellation that comes together with the change.
            try:
                async with asyncio.timeout(for_s):
                    await self._changed.wait()
            except TimeoutError:
                return False
        return self._changed.is_set()

    async def _say_progress(self, bus: Bus) -> None:
        while self._progress and bus.connected:
            _, progress = self._progress.popitem()
            await self._publish(bus, bus.subjects.report(self._address, RESTORATION_REPORT), progress)

    async def _say(self, bus: Bus, subject: str) -> None:
        if bus.connected:
            await self._publish(bus, subject, self._state())

    async def _publish(self, bus: Bus, subject: str, message: Heartbeat | RestorationProgress) -> None:
        try:
            await bus.say(subject, message)
        except (nats.errors.Error, OSError) as error:
            log.debug("not sent", subject=subject, error=str(error) or type(error).__name__)
