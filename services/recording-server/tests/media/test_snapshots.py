"""Snapshots from a real agent: on demand, at an interval, and home with the footage."""

from __future__ import annotations

import asyncio
import io
import sys
import time
from itertools import pairwise

import av
import msgspec
import pytest
from understudy_contracts.commands import Activate, ClearFootage, Configure, FetchFootage, Release, Stage
from understudy_contracts.errors import Unavailable
from understudy_contracts.model import CameraState
from understudy_footage import FootageRoot, manifest_of
from understudy_recording_server.media.pictures import Pictures
from understudy_recording_server.media.snapshots import FRAME_PATIENCE_S


def recording(beat):
    return all(camera.state is CameraState.RECORDING for camera in beat.cameras) and beat.cameras


def size_of(jpeg: bytes) -> tuple[int, int]:
    assert jpeg[:2] == b"\xff\xd8"
    with av.open(io.BytesIO(jpeg), format="jpeg_pipe") as container:
        frame = next(container.decode(video=0))
        return frame.width, frame.height


async def test_a_picture_is_shown_and_kept_on_demand(site, cameras, viewer):
    agent = await site.recording_server("north", cameras, ["cam-1"])
    await site.beat(agent, recording)
    seen = await viewer(agent)
    headers, jpeg = await seen.body("cam-1", "snapshot.jpg")
    assert headers["Content-Type"] == "image/jpeg"
    assert size_of(jpeg) == (320, 180)
    assert abs(int(headers["Understudy-Time"]) - time.time() * 1000) < 2000
    assert not agent.files("snapshots", "**/*")
    async with seen.http.post(seen.url("cam-1", "snapshots"), headers=seen.headers("cam-1")) as answer:
        assert answer.status == 201
        kept = await answer.json()
    (file,) = agent.files("snapshots/cam-1", "*/*.jpg")
    assert file.name == kept["name"] == f"{kept['time_ms']}.jpg"
    assert size_of(file.read_bytes()) == (320, 180)
    # Retention knows of it at once, not only from the next look at all files.
    await site.beat(agent, lambda beat: beat.footage_files == len(agent.files("recordings", "**/*.mp4")) + 1)
    listed = await seen.json("cam-1", f"snapshots?from={kept['time_ms']}&to={kept['time_ms'] + 1}")
    assert [item["name"] for item in listed["items"]] == [file.name]
    assert (await seen.body("cam-1", f"snapshots/{file.name}"))[1] == file.read_bytes()
    await seen.body("cam-1", f"snapshots/{file.name.replace('1', '2')}", 404)
    await seen.body("cam-2", "snapshot.jpg", 404)
    for path in ("snapshots", "events"):
        async with seen.http.post(seen.url("cam-1", path)) as answer:
            assert answer.status == 401
    assert not list(agent.data_dir.glob(".snapshot-*"))


async def test_pictures_are_taken_at_an_interval(site, cameras, wait_for):
    agent = await site.recording_server("north", cameras, ["cam-1", "cam-2"])
    await site.beat(agent, recording)
    configure = site.configure(agent, cameras, ["cam-1", "cam-2"], version=2)
    first, second = configure.settings.settings.cameras
    chosen = [msgspec.structs.replace(first, snapshot_every_s=2), second]
    settings = msgspec.structs.replace(configure.settings.settings, cameras=chosen)
    changed = msgspec.structs.replace(configure.settings, settings=settings)
    await site.command(agent, Configure(configure.configuration, changed))
    await wait_for(lambda: len(agent.files("snapshots/cam-1", "*/*.jpg")) >= 4)
    times = [int(file.stem) for file in agent.files("snapshots/cam-1", "*/*.jpg")]
    apart = sorted(after - before for before, after in pairwise(times))
    # What a busy machine delays is not made up for: never closer than half the interval, but for what the
    # last key frame is older (0.4 s), and as a rule at the interval.
    assert apart[0] > 500
    assert apart[len(apart) // 2] < 3500
    assert not agent.files("snapshots/cam-2", "*/*.jpg")
    # The interval is no reason to touch the recording.
    assert (await site.beat(agent)).cameras[0].reconnects == 0


async def test_pictures_of_a_failover_come_home_with_the_footage(site, cameras, viewer, wait_for):
    spare = await site.failover_server("spare")
    await site.command(spare, Stage(site.settings("north", cameras, ["cam-1"], version=1)))
    await site.command(spare, Activate(3, 1, "f-3", "s-north", 1, ["cam-1"]))
    await site.beat(spare, recording)
    seen = await viewer(spare)
    url, headers = seen.url("cam-1", "snapshots"), seen.headers("cam-1")

    async def take():
        async with seen.http.post(url, headers=headers) as answer:
            return answer.status

    assert await take() == 201
    # Those that are under way when it is released are there in the end, or are refused; none comes later.
    racing = [asyncio.create_task(take()) for _ in range(6)]
    await wait_for(lambda: len(spare.files("failovers/f-3/recordings")) >= 1)
    await site.command(spare, Release(3, 2, "f-3"))
    manifest = manifest_of(FootageRoot(spare.data_dir / "failovers" / "f-3"))
    assert set(await asyncio.gather(*racing)) <= {201, 404, 503}
    assert manifest_of(FootageRoot(spare.data_dir / "failovers" / "f-3")) == manifest
    names = [entry.path for entry in manifest.entries if entry.path.startswith("snapshots/")]
    assert names

    home = await site.recording_server("north", cameras, ["cam-2"])
    grant = site.grant("fetch", spare.machine, failover="f-3", epoch=3)
    await site.command(home, FetchFootage(3, 3, "f-3", site.beats[spare.machine].address, grant))
    beat = await site.beat(home, lambda beat: any(one.state == "done" for one in beat.restorations))
    assert beat.restorations[0].digest == manifest.digest
    for name in names:
        came = home.data_dir / name.replace(".jpg", "_f-3.jpg")
        assert came.read_bytes() == (spare.data_dir / "failovers/f-3" / name).read_bytes()
    await site.command(spare, ClearFootage(3, 4, "f-3", manifest.digest))
    assert not spare.files("failovers", "**/*")


async def test_what_is_no_picture_is_told_and_the_next_one_comes():
    pictures = Pictures()
    try:
        for junk in (b"", b"junk", bytes(1000)):
            with pytest.raises(Exception, match="cannot be decoded"):
                await pictures.jpeg(junk)
        worker = pictures._worker
        assert worker is not None
        worker.kill()
        with pytest.raises(Exception, match="cannot be decoded"):
            await pictures.jpeg(b"junk")
        with pytest.raises(Exception, match=r"cannot be decoded: InvalidDataError"):
            await pictures.jpeg(b"junk")
    finally:
        await pictures.close()


ENDLESS = "import sys, time; sys.stdout.buffer.write(b'\\xff' * 5 + bytes(1 << 20)); time.sleep(600)"


async def test_a_picture_that_is_not_taken_keeps_no_other_waiting():
    """Its maker says more than anyone reads, and is ended in the middle of it."""
    pictures = Pictures()
    pictures._worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ENDLESS, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    stdout = pictures._worker.stdout
    assert stdout is not None
    try:
        async with asyncio.timeout(20):
            while len(stdout._buffer) < 1 << 17:
                await asyncio.sleep(0.01)
            for reason in ("cannot be decoded", "cannot be decoded: InvalidDataError"):
                with pytest.raises(Unavailable, match=reason):
                    await pictures.jpeg(b"junk")
    finally:
        await pictures.close()


async def test_cameras_that_send_nothing_keep_no_other_waiting(site, cameras, viewer, wait_for):
    agent = await site.recording_server("north", cameras, ["cam-1", "cam-2", "cam-3"])
    await site.beat(agent, lambda beat: len(recording(beat) or []) == 3)
    seen = await viewer(agent)
    for silent in ("cam-1", "cam-2"):
        cameras.camera(silent).set_fault("stall")
    await site.beat(agent, lambda beat: not any(c.state is CameraState.RECORDING for c in beat.cameras[:2]))

    async def happen(camera):
        async with seen.http.post(seen.url(camera, "events"), headers=seen.headers(camera)) as answer:
            assert answer.status == 201

    await asyncio.gather(*(happen(camera) for camera in ("cam-1", "cam-2") * 10))
    began = time.monotonic()
    await seen.body("cam-3", "snapshot.jpg")
    assert time.monotonic() - began < FRAME_PATIENCE_S / 2
    # One at a time of each camera, however often something happens.

    def missed(camera):
        return [
            line for line in agent.log.read_text().splitlines() if "no snapshot" in line and camera in line
        ]

    await wait_for(lambda: missed("cam-1") and missed("cam-2"))
    assert (len(missed("cam-1")), len(missed("cam-2"))) == (1, 1)
