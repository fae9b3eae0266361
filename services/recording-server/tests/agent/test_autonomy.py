"""No host, no bus, the power went: it records on with its last settings, and forgets nothing (promise P9)."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from aiohttp import web
from understudy_contracts.commands import Permit, Resume, Stage, StandDown
from understudy_contracts.machine import Authority, Fence, OwnCameras
from understudy_contracts.model import CameraState
from understudy_lab.disks import unlistable
from understudy_lab.frames import read_frames
from understudy_recording_server.settings_store import SettingsStore


def recording(beat, count=2):
    return [camera.state for camera in beat.cameras] == [CameraState.RECORDING] * count


def cut_power(agent) -> None:
    """Agent and recorder end at the same moment, without a word."""
    children = Path(f"/proc/{agent.process.pid}/task/{agent.process.pid}/children").read_text().split()
    os.kill(agent.process.pid, signal.SIGSTOP)  # So that it cannot start another recorder in between.
    for pid in [*map(int, children), agent.process.pid]:
        os.kill(pid, signal.SIGKILL)


SAVED = ("agent.json", "settings/own.json", "settings/staged/s-south.json")


@pytest.mark.parametrize("lost", [(), SAVED], ids=["all whole", "files damaged by the disk"])
async def test_after_a_power_cut_without_network_it_records_on_and_forgets_nothing(
    site, cameras, cable, wait_for, lost
):
    site.nats_url = f"nats://127.0.0.1:{cable.port}"
    agent = await site.recording_server("north", cameras, ["cam-1", "cam-2"])
    await site.beat(agent, recording)
    await site.command(agent, Stage(site.settings("south", cameras, ["cam-3"], version=5)))
    permit = site.grant("permit", agent.machine, failover="f-3", epoch=3)
    await site.command(agent, Permit(3, 1, permit))
    await site.command(agent, StandDown(3, 4, "f-3"))
    await site.command(agent, Resume(3, 6, "f-3", Authority(keys=["KEY-1"])))
    before = await site.beat(agent, lambda beat: recording(beat) and beat.fence == Fence(3, 6))
    await wait_for(lambda: len(agent.files("recordings/cam-1", "**/*.part")) == 1)

    await cable.pull_out()
    cut_at = time.time() * 1000
    cut_power(agent)
    await agent.process.wait()
    parts = agent.files("recordings", "**/*.part")
    assert parts  # It was in the middle of something.
    for name in lost:
        (agent.data_dir / name).write_bytes(bytes(4096))
    # Neither the host's address nor an invitation: what is on the disk is all there is.
    agent.environment = {}
    site.refuse_with = lambda: web.Response(status=503)
    asked = len(site.requests)
    await agent.start()
    await wait_for(lambda: not any(part.exists() for part in parts))
    await wait_for(
        lambda: all(
            any(frame.captured_ms > cut_at for frame in read_frames(path))
            for path in [
                agent.files(f"recordings/{camera}", "**/*_*.mp4")[-1] for camera in ("cam-1", "cam-2")
            ]
        )
    )
    assert len(site.requests) == asked

    site.beats.clear()
    await cable.plug_in()
    after = await site.beat(agent, recording)
    assert after.boot != before.boot
    for said in ("machine", "server", "site", "role", "fence", "settings_version", "staged", "configured",
                 "heartbeat_s", "maximum_cameras"):  # fmt: skip
        assert getattr(after, said) == getattr(before, said), said
    assert isinstance(after.duty, OwnCameras)
    assert after.authority == Authority(keys=["KEY-1"])
    assert after.staged == {"s-south": 5}
    # And they go on, at the configured pace.
    await site.beat(agent, lambda beat: beat.sequence > after.sequence + 4)
    await wait_for(lambda: site.beats[agent.machine].footage_files >= before.footage_files)


async def test_a_data_folder_that_vanishes_is_told_and_the_machine_stays_itself(site, cameras, wait_for):
    agent = await site.recording_server("north", cameras, ["cam-1"])
    before = await site.beat(agent, lambda beat: recording(beat, 1))
    shutil.rmtree(agent.data_dir, ignore_errors=True)
    beat = await site.beat(agent, lambda beat: beat.storage.state != "normal", within_s=5)
    assert beat.storage.reason
    again = time.time() * 1000
    await wait_for((agent.data_dir / "agent.json").exists)
    await site.beat(agent, lambda beat: recording(beat, 1) and beat.cameras[0].last_frame_at > again)
    # Who it is, and what it is to record, is on the disk again for the next start.
    agent.environment = {}
    await agent.end(signal.SIGKILL)
    await agent.start()
    after = await site.beat(agent, lambda beat: beat.boot != before.boot and recording(beat, 1))
    assert (after.machine, after.fence, after.settings_version) == (before.machine, before.fence, 1)


def test_a_folder_of_settings_that_cannot_be_read_keeps_no_agent_from_starting(tmp_path):
    (tmp_path / "settings/staged").mkdir(parents=True)
    store = SettingsStore(tmp_path)
    with unlistable("staged"):
        store.load()
    assert store.staged == {}
