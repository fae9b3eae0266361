"""Sees to the paired machines on the site, so that the host has witnesses when it hears one no more (B3).

Anyone may ask whether an agent is alive: the answer holds no secrets, only its id and whether it records.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence

import aiohttp
import msgspec
import structlog
from understudy_contracts.machine import CameraEvidence, PeerSighting
from understudy_contracts.model import CameraState
from understudy_contracts.settings import Peer
from understudy_runtime.waiting import go_on

ALIVE_PATH = "/alive"
PROBE_WITHIN_S = 1.0
LARGEST_ANSWER = 4096

_RECORDS = frozenset({CameraState.RECORDING, CameraState.LIVE})

log = structlog.get_logger()


class Alive(msgspec.Struct, frozen=True):
    """What an agent tells anyone who asks."""

    machine: str
    records: bool


def alive(machine: str, cameras: Iterable[CameraEvidence]) -> Alive:
    """What the agent of `machine` tells of itself."""
    return Alive(machine, any(camera.state in _RECORDS for camera in cameras))


class Peers:
    """Probes each peer at the pace of the heartbeats, and keeps what it saw last."""

    def __init__(self, peers: Callable[[], Sequence[Peer]], interval_s: Callable[[], float]) -> None:
        self._peers = peers
        self._interval_s = interval_s
        self._seen: dict[Peer, tuple[float, bool, bool]] = {}

    def sightings(self) -> list[PeerSighting]:
        """Every configured peer; one that was not probed yet counts as not reachable."""
        now = time.monotonic()
        found = []
        for peer in self._peers():
            at, reachable, records = self._seen.get(peer, (now, False, False))
            found.append(PeerSighting(peer.machine, reachable, int((now - at) * 1000), records, peer.address))
        return found

    async def run(self) -> None:
        """Probe until cancelled."""
        timeout = aiohttp.ClientTimeout(total=PROBE_WITHIN_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while go_on():
                peers = list(self._peers())
                for gone in self._seen.keys() - set(peers):
                    del self._seen[gone]
                # Each for itself: one that does not answer must not hold up the word on another.
                await asyncio.gather(*(self._probe(session, peer) for peer in peers))
                await asyncio.sleep(self._interval_s())

    async def _probe(self, session: aiohttp.ClientSession, peer: Peer) -> None:
        reachable, records = False, False
        try:
            async with session.get(peer.address + ALIVE_PATH, allow_redirects=False) as answer:
                if answer.status == 200:
                    said = msgspec.json.decode(await answer.content.read(LARGEST_ANSWER), type=Alive)
                    reachable = said.machine == peer.machine
                    records = reachable and said.records
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            log.debug("peer not seen", peer=peer.machine, error=str(error) or type(error).__name__)
        self._seen[peer] = (time.monotonic(), reachable, records)
