"""Cameras that refuse, fall silent, or never answer: said in clear words, and no concern of the others."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from understudy_footage import FootageRoot, recordings_of
from understudy_lab.cameras import Login, SimulatedCameras
from understudy_lab.frames import find_gaps, read_frames


async def _free_port() -> int:
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


async def test_cameras_that_refuse_are_named_and_harm_no_other(start_recorder, spec, cameras) -> None:
    recorder = await start_recorder()
    cameras.camera("cam-2").set_fault("refuse-401")
    port = await _free_port()
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
    await recorder.hears("camera", camera="cam-1", state="reconnecting", since=since)
    assert time.monotonic() - dropped < 1
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
    assert time.monotonic() - started < 1
    [stalled] = await recorder.hears("camera", camera="cam-2", state="reconnecting")
    assert "stalled" in stalled["reason"]
    assert time.monotonic() - started < 7
    cameras.camera("cam-2").set_fault("none")
    await recorder.hears("camera", count=2, camera="cam-2", state="recording")


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
