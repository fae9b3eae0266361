"""Paired machines see to each other over real HTTP."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from understudy_contracts.machine import CameraEvidence, PeerSighting
from understudy_contracts.model import CameraState
from understudy_contracts.settings import Peer
from understudy_recording_server.peers import ALIVE_PATH, Peers, alive
from understudy_recording_server.serving import serving


def test_an_agent_tells_its_id_and_whether_it_records():
    cameras = [
        CameraEvidence("cam-1", CameraState.RECONNECTING),
        CameraEvidence("cam-2", CameraState.RECORDING),
    ]
    assert alive("m-1", cameras).records
    assert not alive("m-1", cameras[:1]).records


async def until(peers: Peers, good: Callable[[PeerSighting], bool]) -> PeerSighting:
    async with asyncio.timeout(10):
        while not good(peers.sightings()[0]):
            await asyncio.sleep(0.01)
    return peers.sightings()[0]


@asynccontextmanager
async def answering(body: str) -> AsyncIterator[str]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=body)

    application = web.Application()
    application.router.add_get(ALIVE_PATH, answer)
    async with serving(application, "127.0.0.1:0") as port:
        yield f"http://127.0.0.1:{port}"


async def test_a_peer_is_seen_recording_and_no_more_once_it_is_gone():
    async with answering('{"machine":"m-2","records":true}') as address:
        watched = [Peer("m-2", address)]
        peers = Peers(lambda: watched, lambda: 0.05)
        assert peers.sightings() == [PeerSighting("m-2", False, 0, False, address)]
        task = asyncio.create_task(peers.run())
        seen = await until(peers, lambda sighting: sighting.reachable)
        assert seen.records
    gone = await until(peers, lambda sighting: not sighting.reachable)
    assert not gone.records
    watched.clear()
    assert peers.sightings() == []
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_another_machine_or_nonsense_at_that_address_is_not_the_peer():
    for body in ('{"machine":"m-3","records":true}', "nonsense", "[]", "x" * 100_000):
        async with answering(body) as address, aiohttp.ClientSession() as session:
            peer = Peer("m-2", address)
            peers = Peers(lambda peer=peer: [peer], lambda: 0.05)
            await peers._probe(session, peer)
            assert not peers.sightings()[0].reachable
