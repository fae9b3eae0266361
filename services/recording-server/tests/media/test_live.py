"""Live view from a real agent: quick, for many on one connection, and never at the cost of the recording."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path

import aiohttp
import av
import msgspec
import pytest
from understudy_contracts.commands import Activate, Configure, Release, Stage
from understudy_contracts.model import CameraState
from understudy_contracts.settings import CameraSource
from understudy_lab.cameras import ClipSettings, SimulatedCameras
from understudy_lab.frames import find_gaps, read_frames

FPS = 25
STARTS_WITHIN_S = 0.3


class Picture:
    """What came over one WebSocket: told messages, heads and fragments."""

    def __init__(self, connection):
        self.connection = connection
        self.begins = []
        self.heads = []
        self.fragments = []
        self.waited = 0

    async def hear(self):
        message = await self.connection.receive()
        if message.type is aiohttp.WSMsgType.TEXT:
            told = json.loads(message.data)
            if told["type"] == "begin":
                self.begins.append(told)
            else:
                self.waited += 1
        elif message.type is aiohttp.WSMsgType.BINARY:
            if len(self.heads) < len(self.begins):
                self.heads.append(message.data)
                self.fragments.append([])
            else:
                self.fragments[-1].append(message.data)
        return message.type

    async def until(self, true, within_s=15.0):
        async with asyncio.timeout(within_s):
            while not true():
                kind = await self.hear()
                assert kind in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}, self.connection.close_code

    def file(self, folder: Path, number=-1) -> Path:
        path = folder / f"live-{len(self.heads)}.mp4"
        path.write_bytes(self.heads[number] + b"".join(self.fragments[number]))
        return path


@asynccontextmanager
async def watching(seen, camera, query=""):
    url = seen.url(camera, f"live{query}")
    async with seen.http.ws_connect(url, headers=seen.headers(camera)) as connection:
        yield Picture(connection)


def recording(count):
    return lambda beat: [c.state for c in beat.cameras] == [CameraState.RECORDING] * count


async def test_it_starts_at_once_with_the_last_key_frame_and_loses_none(site, cameras, viewer, tmp_path):
    agent = await site.recording_server("north", cameras, ["cam-1", "cam-2", "cam-3"])
    await site.beat(
        agent, lambda beat: recording(3)(beat) and all(c.frames_written > FPS for c in beat.cameras)
    )
    seen = await viewer(agent)
    took = []
    # Of each camera the first viewer: nobody else has it watched already.
    for camera in ("cam-1", "cam-2", "cam-3"):
        began = time.monotonic()
        async with watching(seen, camera) as picture:
            await picture.until(lambda shown=picture: shown.fragments and shown.fragments[0])
            took.append(time.monotonic() - began)
            with av.open(BytesIO(picture.heads[0] + picture.fragments[0][0])) as container:
                assert next(container.decode(video=0)).width == 320
    print(f"first key frame after {[round(one * 1000) for one in took]} ms")
    assert sorted(took)[1] < STARTS_WITHIN_S
    assert "failed" not in agent.log.read_text()
    async with watching(seen, "cam-1") as picture:
        await picture.until(lambda: picture.fragments and len(picture.fragments[0]) >= 2 * FPS)
    assert picture.begins[0]["mime"].startswith('video/mp4; codecs="avc1.')
    assert (picture.begins[0]["width"], picture.begins[0]["height"]) == (320, 180)
    frames = read_frames(picture.file(tmp_path))
    assert frames[0].is_key
    assert len(frames) == len(picture.fragments[0])
    assert find_gaps(frames, FPS) == {"cam-1": []}


async def test_many_watch_on_one_connection_and_nobody_when_all_have_left(site, cameras, viewer, wait_for):
    agent = await site.recording_server("north", cameras, ["cam-1"])
    await site.beat(agent, recording(1))
    seen = await viewer(agent)

    async def one():
        async with watching(seen, "cam-1") as picture:
            await picture.until(lambda: picture.fragments and len(picture.fragments[0]) >= FPS)
            return len(cameras.camera("cam-1").viewers)

    assert await asyncio.gather(*(one() for _ in range(20))) == [1] * 20
    frames = await asyncio.gather(*(one() for _ in range(2)))
    assert frames == [1, 1]
    beat = await site.beat(agent, recording(1))
    assert beat.cameras[0].reconnects == 0


async def test_who_does_not_read_is_dropped_and_the_others_see_on(site, viewer, tmp_path, clips):
    clip = ClipSettings(width=640, height=360, bitrate_kbit=3000, gop_s=0.4, length_s=2.0)
    async with SimulatedCameras(["cam-1"], clip=clip, cache_dir=clips) as cameras:
        agent = await site.recording_server("north", cameras, ["cam-1"])
        await site.beat(agent, recording(1))
        seen = await viewer(agent)
        with socket.socket() as slow:
            await shake_hands(slow, seen, "cam-1")
            async with watching(seen, "cam-1") as picture:
                await picture.until(lambda: picture.fragments and picture.fragments[0])
                before = connections_of(agent)
                await picture.until(lambda: connections_of(agent) < before, within_s=40)
                count = len(picture.fragments[0])
                await picture.until(lambda: len(picture.fragments[0]) > count + FPS)
        assert find_gaps(read_frames(picture.file(tmp_path)), FPS) == {"cam-1": []}


async def shake_hands(connection, seen, camera):
    """Open a WebSocket by hand, with a small buffer of the kernel's, and read nothing of what comes."""
    loop = asyncio.get_running_loop()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    connection.setblocking(False)
    host, port = seen.address.removeprefix("http://").split(":")
    await loop.sock_connect(connection, (host, int(port)))
    ask = (
        f"GET /media/cameras/{camera}/live HTTP/1.1\r\nHost: x\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"Authorization: Bearer {seen.grant(camera)}\r\n\r\n"
    )
    await loop.sock_sendall(connection, ask.encode())
    assert (await loop.sock_recv(connection, 12)) == b"HTTP/1.1 101"


def connections_of(agent) -> int:
    """How many sockets the agent has open."""
    found = 0
    for entry in Path(f"/proc/{agent.process.pid}/fd").iterdir():
        try:
            found += str(entry.readlink()).startswith("socket:")
        except FileNotFoundError:
            continue
    return found


async def test_viewers_stay_through_a_lost_camera_and_a_killed_recorder(site, cameras, viewer, tmp_path):
    agent = await site.recording_server("north", cameras, ["cam-1"])
    await site.beat(agent, recording(1))
    seen = await viewer(agent)
    async with watching(seen, "cam-1") as picture:
        await picture.until(lambda: picture.fragments and picture.fragments[-1])
        cameras.camera("cam-1").set_fault("stall")
        await picture.until(lambda: picture.waited >= 1)
        cameras.camera("cam-1").set_fault("none")
        await picture.until(lambda: len(picture.begins) >= 2 and picture.fragments[-1])
        assert read_frames(picture.file(tmp_path))[0].is_key
        count = len(picture.begins)
        os.kill(agent.recorder, signal.SIGKILL)
        await picture.until(lambda: len(picture.begins) > count and len(picture.fragments[-1]) > FPS)
        frames = read_frames(picture.file(tmp_path))
        assert frames[0].is_key
        assert find_gaps(frames, FPS) == {"cam-1": []}


async def test_a_session_goes_on_without_the_host_and_ends_with_the_duty(site, cameras, viewer):
    spare = await site.failover_server("spare")
    await site.command(spare, Stage(site.settings("north", cameras, ["cam-1"], version=1)))
    seen = await viewer(spare)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with watching(seen, "cam-1"):
            pass
    assert refused.value.status == 404
    await site.command(spare, Activate(3, 1, "f-3", "s-north", 1, ["cam-1"]))
    async with watching(seen, "cam-1") as picture:
        await picture.until(lambda: picture.fragments and len(picture.fragments[0]) > FPS)
        await site.command(spare, Release(3, 2, "f-3"))
        async with asyncio.timeout(10):
            while not picture.connection.closed:
                await picture.hear()
        assert picture.connection.close_code == 4404


async def test_a_second_stream_that_is_taken_out_of_the_settings_ends(site, cameras, viewer):
    agent = await site.recording_server("north", cameras, ["cam-1"])
    await site.beat(agent, recording(1))
    without = site.configure(agent, cameras, ["cam-1"], 3)
    [camera] = without.settings.settings.cameras
    with_second = msgspec.structs.replace(camera, sub_source=CameraSource(cameras.url("cam-2")))
    settings = msgspec.structs.replace(without.settings.settings, cameras=[with_second])
    versioned = msgspec.structs.replace(without.settings, version=2, settings=settings)
    seen = await viewer(agent)
    with pytest.raises(aiohttp.WSServerHandshakeError, match="404"):
        async with watching(seen, "cam-1", "?stream=sub"):
            pass
    await site.command(agent, Configure(without.configuration, versioned))
    async with watching(seen, "cam-1", "?stream=sub") as picture:
        await picture.until(lambda: picture.fragments and len(picture.fragments[-1]) > 5)
        await site.command(agent, without)
        async with asyncio.timeout(10):
            while not picture.connection.closed:
                last = await picture.connection.receive()
        assert (picture.connection.close_code, last.extra) == (4404, "the camera has no second stream")


async def test_only_grants_open_it(site, cameras, viewer, http):
    agent = await site.recording_server("north", cameras, ["cam-1"])
    await site.beat(agent, recording(1))
    seen = await viewer(agent)
    for token, status in (
        ("", 401),
        (seen.grant("cam-2"), 403),
        ("junk", 403),
        (seen.grant("cam-1", expires_at=1), 403),
    ):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with http.ws_connect(seen.url("cam-1", f"live?token={token}")):
                pass
        assert refused.value.status == status
    await seen.body("cam-1", "live", 400)
    await seen.body("cam-1", "live?stream=third", 400)
    # Opened before it expires, it goes on after it.
    expires_at = int(time.time() * 1000) + 5000
    soon = seen.grant("cam-1", expires_at=expires_at)
    async with http.ws_connect(seen.url("cam-1", f"live?token={soon}")) as connection:
        picture = Picture(connection)
        await picture.until(lambda: time.time() * 1000 > expires_at)
        count = len(picture.fragments[0])
        await picture.until(lambda: len(picture.fragments[0]) > count + FPS)


async def test_a_camera_of_one_picture_a_second_is_shown_as_it_comes(site, viewer, clips):
    clip = ClipSettings(width=320, height=180, fps=1, bitrate_kbit=100, gop_s=2.0, length_s=4.0)
    async with SimulatedCameras(["cam-1"], clip=clip, cache_dir=clips) as cameras:
        agent = await site.recording_server("north", cameras, ["cam-1"])
        await site.beat(agent, recording(1))
        seen = await viewer(agent)
        async with watching(seen, "cam-1") as picture:
            await picture.until(lambda: picture.fragments and picture.fragments[0])
            for _ in range(6):
                count = len(picture.fragments[0])
                await picture.until(lambda before=count: len(picture.fragments[0]) > before, within_s=5)
            assert len(picture.begins) == 1
