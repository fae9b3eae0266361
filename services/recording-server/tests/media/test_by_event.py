"""Recording by event with a real agent: nothing before, some seconds from memory, nothing lost, nothing long
after; also when the recorder is killed in the middle."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import msgspec
from understudy_contracts.commands import Configure
from understudy_contracts.model import CameraState
from understudy_lab.frames import find_gaps, read_frames

FPS = 25
PRE_S = 2
POST_S = 2


async def configure(site, agent, cameras, version, pre_s, post_s):
    """Have cam-1 recorded by event and cam-2 not at all."""
    usual = site.configure(agent, cameras, ["cam-1", "cam-2"], version)
    first, second = usual.settings.settings.cameras
    chosen = [
        msgspec.structs.replace(first, recording="event", pre_record_s=pre_s, post_record_s=post_s),
        msgspec.structs.replace(second, recording="off"),
    ]
    settings = msgspec.structs.replace(usual.settings.settings, cameras=chosen)
    changed = msgspec.structs.replace(usual.settings, settings=settings)
    await site.command(agent, Configure(usual.configuration, changed))


async def by_event(site, cameras, viewer, post_s=POST_S):
    """A server whose cam-1 records by event and whose cam-2 does not record."""
    agent = await site.recording_server("north", cameras, [])
    await configure(site, agent, cameras, 2, PRE_S, post_s)
    await site.beat(agent, lambda beat: [c.state for c in beat.cameras] == [CameraState.LIVE] * 2)
    return agent, await viewer(agent)


async def happen(seen, camera):
    async with seen.http.post(seen.url(camera, "events"), headers=seen.headers(camera)) as answer:
        assert answer.status == 201, await answer.text()
        return await answer.json()


def frames_of(files):
    return [frame for file in files for frame in read_frames(file)]


async def test_it_begins_before_the_event_and_ends_after_the_last(site, cameras, viewer, wait_for):
    agent, seen = await by_event(site, cameras, viewer)
    first = time.time()
    await wait_for(lambda: time.time() > first + PRE_S + 1)
    assert not agent.files("recordings", "**/*")

    event_ms = int(time.time() * 1000)
    assert await happen(seen, "cam-1") == {"camera": "cam-1", "records_for_s": POST_S}
    await happen(seen, "cam-2")
    await site.beat(agent, lambda beat: beat.cameras[0].state is CameraState.RECORDING)
    begun_ms = int(time.time() * 1000)
    await wait_for(lambda: time.time() * 1000 > event_ms + 1000)
    last_ms = int(time.time() * 1000)
    await happen(seen, "cam-1")  # It goes on that much longer.
    told_ms = int(time.time() * 1000)
    await site.beat(agent, lambda beat: beat.cameras[0].state is CameraState.LIVE)
    await wait_for(lambda: not agent.files("recordings", "**/*.part"))
    files = agent.files("recordings/cam-1")
    frames = frames_of(files)
    assert find_gaps(frames, FPS) == {"cam-1": []}
    gop_ms = 400
    # Between asking for it and hearing of it the event came to the recorder, sooner or later.
    assert event_ms - PRE_S * 1000 - 2 * gop_ms < frames[0].captured_ms < begun_ms - PRE_S * 1000 + gop_ms
    assert abs(int(files[0].name.split("_")[0]) - frames[0].captured_ms) < 500
    assert last_ms + POST_S * 1000 - 500 < frames[-1].captured_ms < told_ms + POST_S * 1000 + 1000
    assert not agent.files("recordings/cam-2")
    await wait_for(lambda: len(agent.files("snapshots/cam-1", "*/*.jpg")) >= 1)

    # The next event soon after records again only what was not recorded yet, but for a group of pictures.
    await happen(seen, "cam-1")
    await site.beat(agent, lambda beat: beat.cameras[0].state is CameraState.RECORDING)
    await site.beat(agent, lambda beat: beat.cameras[0].state is CameraState.LIVE)
    await wait_for(lambda: not agent.files("recordings", "**/*.part"))
    again = frames_of([file for file in agent.files("recordings/cam-1") if file not in files])
    assert frames[-1].number - FPS < again[0].number <= frames[-1].number + 1 or (
        again[0].captured_ms > frames[-1].captured_ms
    )


async def test_an_event_outlives_the_recorder(site, cameras, viewer, wait_for):
    agent, seen = await by_event(site, cameras, viewer, post_s=8)
    await happen(seen, "cam-1")
    await site.beat(agent, lambda beat: beat.cameras[0].state is CameraState.RECORDING)
    os.kill(agent.recorder, signal.SIGKILL)
    await site.beat(agent, lambda beat: beat.recorder.restarts == 1)
    # Without another event: what is left of the first.
    await site.beat(agent, lambda beat: beat.cameras[0].state is CameraState.RECORDING)
    await asyncio.gather(*(happen(seen, "cam-1") for _ in range(20)))
    await site.beat(agent, lambda beat: beat.cameras[0].state is CameraState.LIVE)
    await wait_for(lambda: not agent.files("recordings", "**/*.part"))
    assert len(agent.files("recordings/cam-1")) >= 2


async def test_an_event_outlives_a_change_of_the_cameras_settings(site, cameras, viewer):
    agent, seen = await by_event(site, cameras, viewer, post_s=20)
    await happen(seen, "cam-1")
    await site.beat(agent, lambda beat: beat.cameras[0].state is CameraState.RECORDING)
    changed_ms = int(time.time() * 1000)
    await configure(site, agent, cameras, 3, PRE_S + 1, 20)
    # Without another event: what is left of the first.
    beat = await site.beat(
        agent,
        lambda beat: (
            (beat.cameras[0].connected_at or 0) > changed_ms
            and beat.cameras[0].state in {CameraState.LIVE, CameraState.RECORDING}
        ),
    )
    assert beat.cameras[0].state is CameraState.RECORDING
