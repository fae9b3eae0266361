"""An agent on a real bus, with a real recorder and real streams: joining, recording, serving, letting go."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import msgspec
import pytest
from understudy_contracts.commands import (
    Activate,
    Permit,
    Release,
    ReportState,
    Resume,
    Stage,
    StandDown,
    Unstage,
)
from understudy_contracts.errors import Conflict, Refused, SettingsMissing, StaleEpoch
from understudy_contracts.machine import Authority, Fence, OwnCameras, Serving, Standby, StoodDown
from understudy_contracts.model import CameraState, Role
from understudy_lab.frames import find_gaps, read_frames

FPS = 25


def recording(beat, count):
    return [c.state for c in beat.cameras] == [CameraState.RECORDING] * count


def taken_over(beat, count):
    return len([c for c in beat.cameras if c.first_key_frame_at and c.failover]) == count


async def test_a_machine_joins_and_records_its_own_cameras(site, cameras, wait_for):
    agent = await site.recording_server("north", cameras, ["cam-1", "cam-3"])
    beat = await site.beat(agent, lambda beat: recording(beat, 2))
    assert (beat.server, beat.role, beat.site) == ("s-north", Role.RECORDING, "site-a")
    assert isinstance(beat.duty, OwnCameras)
    assert beat.configured
    assert beat.settings_version == 1
    assert beat.storage.free_bytes > 0
    assert beat.address.startswith("http://127.0.0.1:")
    await wait_for(lambda: len(agent.files("recordings/cam-1")) > 1)
    assert await agent.end() == 0
    assert not agent.files("recordings", "**/*.part")
    for camera in ("cam-1", "cam-3"):
        frames = [frame for file in agent.files(f"recordings/{camera}") for frame in read_frames(file)]
        assert len(frames) > FPS
        assert find_gaps(frames, FPS) == {camera: []}


async def test_a_failover_server_takes_over_and_lets_go(site, cameras, wait_for):
    agent = await site.failover_server("spare")
    assert isinstance((await site.beat(agent, lambda beat: beat.configured)).duty, Standby)
    settings = site.settings("north", cameras, ["cam-1", "cam-2", "cam-3"], version=4)
    activate = Activate(7, 2, "f-7", "s-north", 4, ["cam-1", "cam-3"], authority=Authority(keys=["KEY-1"]))
    with pytest.raises(SettingsMissing, match="no settings of s-north"):
        await site.command(agent, activate)
    assert (await site.command(agent, Stage(settings))).staged == {"s-north": 4}
    with pytest.raises(SettingsMissing, match="version 4"):
        await site.command(agent, msgspec.structs.replace(activate, settings_version=5))

    state = await site.command(agent, activate)
    assert isinstance(state.duty, Serving)
    assert state.fence == Fence(7, 2)
    assert state.authority.keys == ["KEY-1"]
    beat = await site.beat(agent, lambda beat: taken_over(beat, 2))
    off = [camera for camera in beat.cameras if camera.camera == "cam-2"]
    assert off[0].state is CameraState.DISABLED
    first = {camera.camera: camera.first_key_frame_at for camera in beat.cameras}
    await site.beat(agent, lambda beat: all(c.frames_written > FPS for c in beat.cameras if c.connected_at))

    repeated = await site.command(agent, activate)
    assert {camera.camera: camera.first_key_frame_at for camera in repeated.cameras} == first
    with pytest.raises(Conflict, match="f-7"):
        await site.command(agent, Activate(8, 1, "f-8", "s-north", 4, ["cam-1"]))
    with pytest.raises(Conflict, match="in use"):
        await site.command(agent, Unstage("s-north"))

    released = await site.command(agent, Release(7, 9, "f-7"))
    assert isinstance(released.duty, Standby)
    assert not released.cameras
    assert not agent.files("failovers", "**/*.part")
    with pytest.raises(StaleEpoch):
        await site.command(agent, activate)
    frames = [frame for file in agent.files("failovers/f-7/recordings") for frame in read_frames(file)]
    assert find_gaps(frames, FPS) == {"cam-1": [], "cam-3": []}
    assert not agent.files("recordings")
    assert (await site.command(agent, Unstage("s-north"))).staged == {}


async def test_an_edit_during_a_failover_touches_only_what_it_changes(site, cameras):
    agent = await site.failover_server("spare")
    await site.command(agent, Stage(site.settings("north", cameras, ["cam-1"], version=1, failover="f-1")))
    await site.command(agent, Activate(1, 1, "f-1", "s-north", 1, ["cam-1"]))
    before = await site.beat(agent, lambda beat: taken_over(beat, 1))
    edited = site.settings("north", cameras, ["cam-1", "cam-2"], version=2, failover="f-1")
    state = await site.command(agent, Stage(edited))
    assert isinstance(state.duty, Serving)
    assert (state.duty.settings_version, state.duty.cameras) == (2, ["cam-1", "cam-2"])
    after = await site.beat(agent, lambda beat: taken_over(beat, 2))
    assert after.cameras[0].first_key_frame_at == before.cameras[0].first_key_frame_at
    with pytest.raises(StaleEpoch, match="older than version 2"):
        await site.command(agent, Stage(site.settings("north", cameras, ["cam-1"], version=1)))
    await site.command(agent, Release(1, 2, "f-1"))
    original = site.settings("north", cameras, ["cam-1"], version=1)
    assert (await site.command(agent, Stage(original))).staged == {"s-north": 1}


async def test_the_original_stands_down_and_resumes_under_fences(site, cameras):
    agent = await site.recording_server("north", cameras, ["cam-1"])
    await site.beat(agent, lambda beat: recording(beat, 1))
    permit = site.grant("permit", agent.machine, failover="f-3", epoch=3)
    state = await site.command(agent, Permit(3, 1, permit))
    assert state.authority == Authority(permit_failover="f-3", permit_expires_at=4_000_000_000_000)
    assert isinstance(state.duty, OwnCameras)
    forged = site.grant("fetch", agent.machine, failover="f-3", epoch=3)
    with pytest.raises(Refused):
        await site.command(agent, Permit(3, 2, forged))

    state = await site.command(agent, StandDown(3, 4, "f-3"))
    assert state.duty == StoodDown("f-3")
    assert state.cameras == []
    assert not agent.files("recordings", "**/*.part")
    with pytest.raises(StaleEpoch):
        await site.command(agent, Resume(2, 9, "f-2"))
    with pytest.raises(Conflict, match="recording server cannot"):
        await site.command(agent, Activate(4, 1, "f-4", "s-other", 1, []))
    state = await site.command(agent, Resume(3, 6, "f-3", Authority(keys=["KEY-1"])))
    assert isinstance(state.duty, OwnCameras)
    assert state.authority.keys == ["KEY-1"]
    await site.beat(agent, lambda beat: recording(beat, 1) and beat.cameras[0].first_key_frame_at)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_restarted_agent_takes_up_its_duty_without_the_host(site, cameras, wait_for, number):
    agent = await site.failover_server("spare")
    await site.command(agent, Stage(site.settings("north", cameras, ["cam-1"])))
    await site.command(agent, Activate(1, 1, "f-1", "s-north", 1, ["cam-1"]))
    before = await site.beat(agent, lambda beat: taken_over(beat, 1))
    recorder = Path(f"/proc/{agent.recorder}")
    await agent.end(number)
    await wait_for(lambda: not recorder.exists())

    # Without the gateway and with the bus out of reach: what the disk says is enough.
    record = msgspec.json.decode((agent.data_dir / "agent.json").read_bytes())
    nats_urls, record["nats_urls"] = record["nats_urls"], ["nats://127.0.0.1:9"]
    (agent.data_dir / "agent.json").write_bytes(msgspec.json.encode(record))
    agent.environment = {}
    count = len(agent.files("failovers/f-1"))
    await agent.start()
    await wait_for(lambda: len(agent.files("failovers/f-1")) > count)
    await agent.end()
    record["nats_urls"] = nats_urls
    (agent.data_dir / "agent.json").write_bytes(msgspec.json.encode(record))
    await agent.start()
    after = await site.beat(agent, lambda beat: beat.boot != before.boot and taken_over(beat, 1))
    assert after.duty == before.duty
    assert after.fence == Fence(1, 1)
    with pytest.raises(StaleEpoch):
        await site.command(agent, Release(1, 0, "f-1"))


async def test_a_killed_recorder_is_replaced_and_its_crashes_are_told(site, cameras):
    agent = await site.recording_server("north", cameras, ["cam-1"])
    beat = await site.beat(agent, lambda beat: recording(beat, 1))
    for restarts in (1, 2, 3):
        os.kill(agent.recorder, signal.SIGKILL)
        told = await site.beat(agent, lambda beat, count=restarts: beat.recorder.restarts == count)
        beat = await site.beat(agent, lambda beat: recording(beat, 1))
    # As it is told: before it records again the first crash may be forgotten.
    assert told.recorder.state == "crashing"
    assert beat.cameras[0].reconnects == 3
    assert (await site.command(agent, ReportState())).recorder.restarts == 3


async def test_camera_passwords_stay_in_private_files(site, cameras):
    agent = await site.recording_server("north", cameras, ["cam-3"])
    beat = await site.beat(agent, lambda beat: recording(beat, 1))
    assert b"canary" not in msgspec.json.encode(beat)
    for entry in (Path(f"/proc/{agent.process.pid}"), Path(f"/proc/{agent.recorder}")):
        assert b"canary" not in (entry / "cmdline").read_bytes()
        assert b"canary" not in (entry / "environ").read_bytes()
    await agent.end()
    assert "canary" not in agent.log.read_text()
    private = [
        agent.data_dir / "agent.json",
        agent.data_dir / "agent.creds",
        agent.data_dir / "settings/own.json",
    ]
    assert {oct(path.stat().st_mode & 0o777) for path in private} == {"0o600"}
    assert b"canary" in private[-1].read_bytes()
