"""Cameras that refuse, fall silent, or never answer: said in clear words, and no concern of the others."""

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from understudy_footage import FootageRoot, recordings_of
from understudy_lab.cameras import Login, SimulatedCameras
from understudy_lab.ffprobe import probe
from understudy_lab.frames import find_gaps, read_frames
from understudy_lab.listening import listening
from understudy_recording_server.recorder.sources.problems import ENDED
from understudy_recording_server.recorder.splits import WATCHED


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


async def test_cameras_that_refuse_are_named_and_harm_no_other(start_recorder, spec, cameras) -> None:
    recorder = await start_recorder()
    cameras.camera("cam-2").set_fault("refuse-401")
    port = _free_port()
    await recorder.apply(
        [
            spec("cam-1"),
            spec("cam-2", username="u", password="p"),
            {"id": "absent", "url": cameras.url("no-such-camera")},
            {"id": "nobody", "url": f"rtsp://127.0.0.1:{port}/x"},
            {"id": "metadata", "url": "rtsp://169.254.169.254/latest"},
            {"id": "file", "url": "file:///etc/passwd"},
        ]
    )
    for camera, words in [
        ("cam-2", "user name or password"),
        ("absent", "no stream"),
        ("nobody", f"127.0.0.1:{port}: connection refused"),
        ("metadata", "link-local"),
        ("file", "rtsp://"),
    ]:
        [refused] = await recorder.hears("camera", camera=camera, state="refused")
        assert words in refused["reason"]
    await recorder.hears("first-key-frame", camera="cam-1")
    cameras.camera("cam-2").set_fault("none")
    await recorder.hears("first-key-frame", camera="cam-2")


async def test_a_camera_that_never_answers_is_named_and_stops_at_once(start_recorder, spec, cameras) -> None:
    recorder = await start_recorder()
    cameras.camera("cam-2").set_fault("silent")
    await recorder.apply([spec("cam-1"), spec("cam-2")])
    await recorder.hears("first-key-frame", camera="cam-1")
    [silent] = await recorder.hears("camera", camera="cam-2", state="reconnecting")
    assert "no answer from 127.0.0.1" in silent["reason"]
    assert recorder.told("camera", camera="cam-1")[-1]["state"] == "recording"
    started = time.monotonic()
    await recorder.shut_down()
    assert time.monotonic() - started < 2


async def test_a_dropped_connection_is_made_again(start_recorder, spec, cameras, tmp_path) -> None:
    recorder = await start_recorder()
    await recorder.apply([spec("cam-1"), spec("cam-2")])
    await recorder.hears("camera", count=2, state="recording")
    since = len(recorder.reports)
    dropped = time.monotonic()
    cameras.camera("cam-1").drop_viewers()
    [lost] = await recorder.hears("camera", camera="cam-1", state="reconnecting", since=since)
    # At its end, and not when nothing had come for a while.
    assert lost["reason"] == ENDED
    await recorder.hears("camera", camera="cam-1", state="recording", since=since)
    assert time.monotonic() - dropped < 3
    await recorder.shut_down()
    index = recordings_of(FootageRoot(tmp_path / "data"))
    frames = [frame for group in index.values() for found in group for frame in _frames(tmp_path, found)]
    gaps = find_gaps(frames, 25)
    assert [len(gaps["cam-1"]), len(gaps["cam-2"])] == [1, 0]
    assert [len(index["cam-1"]), len(index["cam-2"])] == [2, 1]


def _frames(tmp_path: Path, found) -> list:
    return read_frames(tmp_path / "data" / found.path.path)


async def test_a_stalled_camera_is_noticed_and_can_be_stopped(start_recorder, spec, cameras) -> None:
    recorder = await start_recorder()
    await recorder.apply([spec("cam-1"), spec("cam-2")])
    await recorder.hears("camera", count=2, state="recording")
    cameras.camera("cam-1").set_fault("stall")
    cameras.camera("cam-2").set_fault("stall")
    started = time.monotonic()
    await recorder.apply([spec("cam-2")], generation=2)
    await recorder.hears("stopped", camera="cam-1")
    # At once, and not when it noticed the silence.
    assert not recorder.told("camera", camera="cam-1", state="reconnecting")
    [stalled] = await recorder.hears("camera", camera="cam-2", state="reconnecting")
    assert "stalled" in stalled["reason"]
    assert time.monotonic() - started < 7
    cameras.camera("cam-2").set_fault("none")
    await recorder.hears("camera", count=2, camera="cam-2", state="recording")


class HalfDeadCamera:
    """Relays a camera, until told to go on with RTCP reports alone: a camera whose encoder hangs. Or until
    told to break off within a frame, once."""

    def __init__(self, port: int) -> None:
        self.encoder_hangs = False
        self.breaks_off = False
        self._port = port
        self._last = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._port)
        forth = asyncio.create_task(_pump(reader, upstream_writer))
        try:
            while True:
                writer.write(await self._next(upstream_reader))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.write(self._last)
        finally:
            forth.cancel()
            upstream_writer.close()
            writer.close()

    async def _next(self, reader: asyncio.StreamReader) -> bytes:
        first = await reader.readexactly(1)
        if first != b"$":
            answer = first + await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: *([0-9]+)", answer)
            return answer + await reader.readexactly(int(length[1]) if length else 0)
        header = await reader.readexactly(3)
        body = await reader.readexactly(int.from_bytes(header[1:], "big"))
        if self.encoder_hangs:
            # An empty receiver report (RFC 3550, 6.4.2) on the RTCP channel.
            return b"$\x01\x00\x08" + b"\x80\xc9\x00\x01" + bytes(4)
        if self.breaks_off and header[0] == 0 and not body[1] & 0x80:
            # Of this frame more would have come: RTP's marker is at the last packet of one.
            self.breaks_off = False
            self._last = first + header + body
            raise ConnectionResetError
        return first + header + body


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def test_a_camera_that_sends_reports_but_no_frames_is_left(start_recorder, cameras) -> None:
    camera = HalfDeadCamera(cameras.port)
    async with listening(camera.serve) as port:
        recorder = await start_recorder()
        await recorder.apply([{"id": "cam-1", "url": f"rtsp://127.0.0.1:{port}/cam-1"}])
        await recorder.hears("camera", state="recording")
        camera.encoder_hangs = True
        started = time.monotonic()
        [stalled] = await recorder.hears("camera", state="reconnecting")
        assert "stalled" in stalled["reason"]
        assert time.monotonic() - started < 8
        await recorder.hears("segment")
        camera.encoder_hangs = False
        await recorder.hears("camera", count=2, state="recording")
        await recorder.shut_down()


@pytest.mark.parametrize("breaks", ["at once", "later"])
async def test_a_frame_that_broke_off_is_in_no_file(
    start_recorder, cameras, tmp_path: Path, require_tool, breaks: str
) -> None:
    """At once: while every frame is held back until the next shows that it is whole."""
    require_tool("ffprobe", "ffmpeg")
    camera = HalfDeadCamera(cameras.port)
    async with listening(camera.serve) as port:
        recorder = await start_recorder()
        await recorder.apply([{"id": "cam-1", "url": f"rtsp://127.0.0.1:{port}/cam-1"}])
        await recorder.until(
            lambda report: (
                report["kind"] == "status"
                and any(
                    one.get("frames_written", 0) > (5 if breaks == "at once" else WATCHED + 5)
                    for one in report["cameras"]
                )
            )
        )
        camera.breaks_off = True
        await recorder.hears("camera", state="reconnecting")
        [finished] = await recorder.hears("segment")
        await recorder.hears("camera", count=2, state="recording")
        await recorder.shut_down()
    path = tmp_path / "data" / finished["path"]
    [video] = await probe(path)
    frames = read_frames(path)
    assert int(video["nb_read_frames"]) == int(video["nb_read_packets"]) == len(frames)
    assert find_gaps(frames, 25) == {"cam-1": []}
    assert abs(finished["duration_ms"] - len(frames) * 40) <= 80


CANARY = "c4nary-p@ss/word:%?#"


@pytest.fixture
async def locked_cameras(tmp_path: Path) -> AsyncIterator[SimulatedCameras]:
    async with SimulatedCameras(
        ["cam-1"], login=Login("viewer", CANARY), cache_dir=tmp_path / "c"
    ) as running:
        yield running


async def test_credentials_open_the_camera_and_are_seen_nowhere(
    start_recorder, locked_cameras, tmp_path: Path
) -> None:
    recorder = await start_recorder()
    url = locked_cameras.url("cam-1")
    within = url.replace("//", "//viewer:wrong-c4nary@")
    await recorder.apply(
        [
            {"id": "good", "url": url, "username": "viewer", "password": CANARY},
            {"id": "bad", "url": url, "username": "viewer", "password": f"wrong-{CANARY}"},
            {"id": "within", "url": within},
            {"id": "odd", "url": f"rtsp://viewer:c4nary@[::1/{CANARY}"},
            {"id": "option", "url": "rtsp://viewer:c4nary@-host/"},
            {"id": "unresolved", "url": "rtsp://viewer:c4nary@host.invalid/"},
        ]
    )
    await recorder.hears("first-key-frame", camera="good")
    for camera in ["bad", "within", "odd", "option"]:
        await recorder.hears("camera", camera=camera, state="refused")
    await recorder.hears("camera", camera="unresolved", state="reconnecting")
    await recorder.send(kind="apply", folder="", generation=2, cameras=[{"id": "x", "password": CANARY}])
    await recorder.hears("error")
    process = Path("/proc") / str(recorder.process.pid)
    seen = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    await recorder.shut_down()
    names = " ".join(str(path) for path in (tmp_path / "data").rglob("*")).encode()
    assert b"c4nary" not in recorder.said + recorder.complained + seen + names
    assert recorder.complained == b""
