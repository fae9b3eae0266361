"""Full, read-only, vanished: real small file systems under a real agent, recorder and cameras."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import msgspec
import pytest
from understudy_contracts.commands import Activate, Configure, Erase, Stage
from understudy_contracts.errors import Unavailable
from understudy_contracts.model import CameraState, Role, StorageState
from understudy_contracts.settings import MachineConfiguration
from understudy_footage import Catalog, FootageRoot, RecordingName, make_folders
from understudy_footage.check import check
from understudy_lab.frames import find_gaps, read_frames

FPS = 25
DAY_MS = 86_400_000
REPORTED_S = 5.0
"""Within this the host must know (issue 3)."""


def recording(beat, count=1):
    return [camera.state for camera in beat.cameras] == [CameraState.RECORDING] * count


async def run(*command: str) -> int:
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    return await process.wait()


async def lose_power(agent) -> None:
    """Both processes end at one moment: the agent is stopped first, or it would start another recorder."""
    agent.process.send_signal(signal.SIGSTOP)
    os.kill(agent.recorder, signal.SIGKILL)
    await agent.end(signal.SIGKILL)


async def make_read_only(disk: Path) -> None:
    """The kernel refuses while a file is open for writing, as one of a process that is just ending."""
    async with asyncio.timeout(20):
        while await run("mount", "-o", "remount,ro", str(disk)):
            await asyncio.sleep(0.02)


def old_footage(root: FootageRoot, count: int, size: int, camera: str = "cam-9") -> list[Path]:
    """Recordings of days ago, each of this many bytes."""
    files = []
    for number in range(count):
        start = int(time.time() * 1000) - 5 * DAY_MS + number * 60_000
        path = root.recording(camera, RecordingName(start, 60_000))
        make_folders(path.parent)
        path.write_bytes(b"\0" * size)
        files.append(path)
    return files


def remove(folder: Path) -> None:
    """Remove a folder that somebody is writing in: files get other names and new ones come meanwhile."""
    while True:
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            if not folder.exists():
                return
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
        else:
            return


def fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


async def keep_full(path: Path) -> None:
    """Somebody else takes all room that there is, until cancelled."""
    while True:
        with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
            while True:
                file.write(b"x" * 65536)
        await asyncio.sleep(0.01)


async def agent_on(site, folder: Path, cameras, ids, **settings):
    """A recording server whose data folder is on this disk."""
    agent = site.make("north", Role.RECORDING)
    agent.data_dir = folder / "data"
    await agent.start()
    await site.beat(agent)
    configure = site.configure(agent, cameras, ids)
    own = msgspec.structs.replace(configure.settings.settings, **settings)
    configure = Configure(configure.configuration, msgspec.structs.replace(configure.settings, settings=own))
    await site.command(agent, configure)
    return agent


@pytest.mark.parametrize("small_disk", ["12m"], indirect=True)
async def test_a_full_disk_is_told_makes_room_and_records_on(site, cameras, small_disk, wait_for):
    data = FootageRoot(small_disk / "data")
    old = old_footage(data, 20, 200_000)
    foreign = [small_disk / "data/notes.txt", old[0].parent / "notes.txt", small_disk / "other"]
    for path in foreign:
        path.write_bytes(b"mine")
    away = data.failover("f-3").recording("cam-8", RecordingName(1_700_000_000_000, 1000))
    make_folders(away.parent)
    away.write_bytes(b"not home yet")
    agent = await agent_on(site, small_disk, cameras, ["cam-1"], minimum_free_bytes=2_000_000)
    await site.beat(agent, lambda beat: recording(beat) and beat.footage_files >= 21)

    fill(small_disk / "filling")
    began = time.monotonic()
    # The disk has less than what must stay free: the oldest footage goes, until there is as much again.
    await site.beat(agent, lambda beat: not old[0].exists())
    assert time.monotonic() - began < 3 * REPORTED_S
    await site.beat(
        agent, lambda beat: beat.storage.state is not StorageState.FULL and beat.storage.free_bytes > 10**6
    )
    left = [path for path in old if path.exists()]
    assert left
    assert left == old[-len(left) :]
    assert all(path.exists() for path in [*foreign, away])

    # Until there is nothing left to remove but what this camera has just recorded: full, and told so.
    full = asyncio.create_task(keep_full(small_disk / "filling-2"))
    beat = await site.beat(
        agent, lambda beat: beat.storage.state is StorageState.FULL and beat.footage_files <= 3
    )
    assert beat.storage.reason
    full.cancel()
    await asyncio.wait({full})
    count = len(agent.files("recordings"))
    for path in small_disk.glob("filling*"):
        path.unlink()
    room = time.time() * 1000
    await site.beat(
        agent,
        lambda beat: (
            recording(beat)
            and beat.storage.state is not StorageState.FULL
            and beat.cameras[0].last_frame_at > room
        ),
    )
    await wait_for(lambda: len(agent.files("recordings/cam-1")) >= min(count, 2))
    assert all(path.read_bytes() == b"mine" for path in foreign)
    assert away.read_bytes() == b"not home yet"
    await agent.end()
    differences = check(data, Catalog.build(data), recording=False)
    assert [each.path for each in differences if "notes.txt" not in each.path] == []
    for path in agent.files("recordings/cam-1"):
        assert read_frames(path)


@pytest.mark.parametrize("small_disk", ["12m"], indirect=True)
async def test_a_full_disk_is_reported_in_time(site, cameras, small_disk):
    """Without anything to remove."""
    agent = await agent_on(site, small_disk, cameras, ["cam-1"])
    await site.beat(agent, recording)
    fill(small_disk / "filling")
    await site.beat(agent, lambda beat: beat.storage.state is StorageState.FULL, within_s=REPORTED_S)


async def test_a_disk_that_refuses_after_an_error_is_reported_in_time(site, cameras, ext4_disk):
    agent = await agent_on(site, ext4_disk.folder, cameras, ["cam-1"])
    await site.beat(agent, recording)
    ext4_disk.tear()
    beat = await site.beat(
        agent, lambda beat: beat.storage.state is StorageState.DAMAGED, within_s=REPORTED_S
    )
    assert "read-only" in beat.storage.reason
    beat = await site.beat(agent, lambda beat: beat.cameras[0].state is CameraState.FAILED)
    assert "cannot write: Read-only file system" in beat.cameras[0].reason
    await agent.end()


async def test_one_camera_whose_disk_hangs_is_told_and_goes_on_afterwards(site, cameras, ext4_disk, wait_for):
    """Nothing fails: a write simply does not return, and only the camera's own disk is concerned."""
    agent = site.make("north", Role.RECORDING)
    (agent.data_dir / "recordings").mkdir(parents=True)
    (agent.data_dir / "recordings/cam-1").symlink_to(ext4_disk.folder)
    await agent.start()
    await site.beat(agent)
    await site.command(agent, site.configure(agent, cameras, ["cam-1", "cam-2"]))
    await site.beat(agent, lambda beat: recording(beat, 2))
    ext4_disk.hang()
    beat = await site.beat(agent, lambda beat: beat.cameras[0].state is CameraState.FAILED)
    assert beat.cameras[0].reason == "cannot write: the disk does not answer"
    assert beat.cameras[1].state is CameraState.RECORDING
    beat = await site.beat(agent, lambda beat: beat.storage.state is not StorageState.NORMAL)
    assert "1 of 2 cameras cannot be written" in beat.storage.reason
    frames = beat.cameras[0].frames_written
    ext4_disk.go_on()
    await site.beat(
        agent, lambda beat: recording(beat, 2) and beat.cameras[0].frames_written > frames + 2 * FPS
    )
    beat = await site.beat(agent)
    assert beat.recorder.restarts == 0
    # It was the disk that was waited for: what the camera sent meanwhile is not thrown away.
    assert [camera.reconnects for camera in beat.cameras] == [0, 0]
    await agent.end()
    files = sorted((agent.data_dir / "recordings/cam-1").glob("*/*.mp4"))
    assert find_gaps([frame for file in files for frame in read_frames(file)], FPS) == {"cam-1": []}


@pytest.mark.parametrize("small_disk", ["32m"], indirect=True)
async def test_a_read_only_disk_is_reported_and_recording_goes_on_afterwards(
    site, cameras, small_disk, wait_for
):
    agent = await agent_on(site, small_disk, cameras, ["cam-1"])
    await site.beat(agent, recording)
    # No file may be open for writing: the camera is away for a moment.
    camera = cameras.camera("cam-1")
    camera.set_fault("refuse-close")
    camera.drop_viewers()
    await make_read_only(small_disk)
    await site.beat(
        agent,
        lambda beat: beat.storage.state is StorageState.DAMAGED and "read-only" in beat.storage.reason,
        within_s=REPORTED_S,
    )
    camera.set_fault("none")
    beat = await site.beat(agent, lambda beat: beat.cameras[0].state is CameraState.FAILED)
    assert "Read-only file system" in beat.cameras[0].reason
    torn = agent.files("recordings", "**/*.part")
    before = len(agent.files("recordings"))
    assert await run("mount", "-o", "remount,rw", str(small_disk)) == 0
    await site.beat(agent, recording)
    await wait_for(lambda: len(agent.files("recordings")) > before)
    # What could not be finished then is finished now, without a restart.
    await wait_for(lambda: not any(path.exists() for path in torn))
    await agent.end()
    assert all(read_frames(path) for path in agent.files("recordings"))
    assert not agent.files("recordings", "**/*.part")


@pytest.mark.parametrize("small_disk", ["32m"], indirect=True)
async def test_a_disk_that_is_read_only_at_the_start_darkens_no_camera(site, cameras, small_disk, wait_for):
    """As after a power cut, when the kernel has found errors on it."""
    agent = await agent_on(site, small_disk, cameras, ["cam-1"])
    beat = await site.beat(agent, recording)
    await wait_for(lambda: bool(agent.files("recordings", "**/*.part")))
    await lose_power(agent)
    left = agent.files("recordings", "**/*.part")
    await make_read_only(small_disk)
    boot = beat.boot
    # Whoever looks for the mistake may invite it anew; that must wait for the disk.
    site.invited["anew"] = site.invited[agent.environment["UNDERSTUDY_JOIN_TOKEN"]]
    agent.environment["UNDERSTUDY_JOIN_TOKEN"] = "anew"
    await agent.start()
    beat = await site.beat(
        agent,
        lambda beat: (
            beat.boot != boot
            and beat.storage.state is StorageState.DAMAGED
            and [camera.state for camera in beat.cameras] == [CameraState.FAILED]
        ),
    )
    assert "read-only" in beat.storage.reason
    assert beat.cameras[0].reason == "cannot write: Read-only file system"
    assert beat.recorder.restarts == 0
    grant = site.grant("media", agent.machine, camera="cam-1")
    async with (
        aiohttp.ClientSession() as http,
        http.get(
            f"{beat.address}/media/cameras/cam-1/snapshot.jpg", headers={"Authorization": f"Bearer {grant}"}
        ) as answer,
    ):
        assert answer.status == 200
        assert (await answer.read())[:2] == b"\xff\xd8"

    assert await run("mount", "-o", "remount,rw", str(small_disk)) == 0
    await site.beat(agent, recording)
    await wait_for(lambda: not any(path.exists() for path in left))
    await agent.end()
    assert all(read_frames(path) for path in agent.files("recordings"))


@pytest.mark.parametrize("place", ["recordings", "recordings/cam-1", "recordings/cam-1/<day>"])
async def test_a_folder_removed_underneath_is_reported_and_recording_goes_on(site, cameras, place, wait_for):
    agent = await site.recording_server("north", cameras, ["cam-1", "cam-2"])
    await site.beat(agent, lambda beat: recording(beat, 2) and beat.footage_files >= 2)
    await wait_for(lambda: bool(agent.files("recordings/cam-1", "**/*_*.mp4")))
    kept = agent.files("recordings/cam-2", "**/*_*.mp4")
    removed_at = time.time() * 1000
    remove(agent.data_dir / place.replace("<day>", datetime.now(UTC).strftime("%Y-%m-%d")))
    beat = await site.beat(
        agent, lambda beat: beat.storage.state is not StorageState.NORMAL, within_s=REPORTED_S
    )
    assert beat.storage.reason
    await site.beat(
        agent,
        lambda beat: (
            recording(beat, 2) and all(one.last_frame_at > removed_at + 2000 for one in beat.cameras)
        ),
    )
    if place != "recordings":
        assert all(path.exists() for path in kept)
    await wait_for(lambda: bool(agent.files("recordings/cam-1", "**/*_*.mp4")))
    await agent.end()
    data = FootageRoot(agent.data_dir)
    assert check(data, Catalog.build(data), recording=False) == []


async def full_failover_server(site, folder: Path, cameras, when_full: str):
    """A failover server on a small disk, which serves in f-7 and still holds footage of f-6."""
    agent = site.make("spare", Role.FAILOVER)
    agent.data_dir = folder / "data"
    data = FootageRoot(agent.data_dir)
    other = old_footage(data.failover("f-6"), 3, 100_000)
    old = old_footage(data.failover("f-7"), 10, 200_000)
    await agent.start()
    await site.beat(agent)
    await site.command(
        agent, Configure(MachineConfiguration("s-spare", "spare", Role.FAILOVER, heartbeat_s=0.25))
    )
    home = site.settings("north", cameras, ["cam-1"])
    settings = msgspec.structs.replace(
        home.settings, minimum_free_bytes=2_000_000, retention_days=1, when_full=when_full
    )
    await site.command(agent, Stage(msgspec.structs.replace(home, settings=settings)))
    await site.command(agent, Activate(7, 1, "f-7", "s-north", 1, ["cam-1"]))
    await site.beat(agent, lambda beat: recording(beat) and beat.footage_files >= 13)
    return agent, other, old


@pytest.mark.parametrize("small_disk", ["12m"], indirect=True)
async def test_footage_that_must_come_home_goes_as_a_named_gap_when_nothing_else_helps(
    site, cameras, small_disk
):
    agent, other, old = await full_failover_server(site, small_disk, cameras, "oldest-first")
    # Its age does not matter: it must come home.
    assert all(path.exists() for path in [*other, *old])
    beat = await site.beat(agent, lambda beat: beat.storage.hours_left is not None)
    assert "then the oldest of it is let go" in beat.storage.warnings[0]
    assert "f-7" in beat.storage.warnings[0]
    assert beat.gaps == []
    fill(small_disk / "filling")
    beat = await site.beat(agent, lambda beat: bool(beat.gaps) and not old[0].exists())
    gap = next(gap for gap in beat.gaps if gap.camera == "cam-9")
    assert gap.failover == "f-7"
    assert gap.start == RecordingName.parse(old[0].name).start_ms
    assert gap.files >= 1
    assert "full" in gap.cause
    left = [path for path in old if path.exists()]
    assert left == old[len(old) - len(left) :]
    assert all(path.exists() for path in other)
    # Named also after a restart.
    await agent.end()
    (small_disk / "filling").unlink()
    boot = beat.boot
    await agent.start()
    beat = await site.beat(agent, lambda beat: beat.boot != boot and bool(beat.gaps) and recording(beat))
    assert "cam-9" in {gap.camera for gap in beat.gaps}


@pytest.mark.parametrize("small_disk", ["12m"], indirect=True)
async def test_a_failover_server_can_stop_rather_than_let_go(site, cameras, small_disk):
    agent, other, old = await full_failover_server(site, small_disk, cameras, "stop")
    with (small_disk / "filling").open("wb") as file:
        file.truncate()
        free = shutil.disk_usage(small_disk).free
        file.write(b"x" * max(0, free - 1_500_000))
    beat = await site.beat(agent, lambda beat: beat.cameras[0].state is CameraState.LIVE)
    beat = await site.beat(agent, lambda beat: beat.storage.state is StorageState.FULL)
    assert "recording has stopped" in beat.storage.reason
    assert beat.storage.hours_left == 0.0
    assert not agent.files("failovers/f-7", "**/*.part")
    assert all(path.exists() for path in [*other, *old])
    assert beat.gaps == []
    (small_disk / "filling").unlink()
    await site.beat(agent, lambda beat: recording(beat) and beat.storage.state is StorageState.NORMAL)
    await agent.end()


@pytest.mark.parametrize("small_disk", ["12m"], indirect=True)
async def test_a_machine_that_is_being_erased_starts_on_a_read_only_disk_and_is_erased_later(
    site, cameras, small_disk, wait_for
):
    agent = site.make("spare", Role.FAILOVER)
    agent.data_dir = small_disk / "data"
    await agent.start()
    before = await site.beat(agent)
    await agent.end()
    old = old_footage(FootageRoot(agent.data_dir), 2, 1000)
    record = msgspec.json.decode((agent.data_dir / "agent.json").read_bytes())
    (agent.data_dir / "agent.json").write_bytes(msgspec.json.encode({**record, "erasing": True}))
    await make_read_only(small_disk)
    await agent.start()
    await site.beat(
        agent, lambda beat: beat.boot != before.boot and beat.storage.state is StorageState.DAMAGED
    )
    # What it recorded now would be erased as well.
    with pytest.raises(Unavailable, match="cannot erase its footage: Read-only"):
        await site.command(agent, Stage(site.settings("north", cameras, ["cam-1"])))
    assert await run("mount", "-o", "remount,rw", str(small_disk)) == 0
    await wait_for(lambda: not any(path.exists() for path in old))
    await site.command(agent, Stage(site.settings("north", cameras, ["cam-1"])))
    await site.command(agent, Activate(1, 1, "f-1", "s-north", 1, ["cam-1"]))
    await site.beat(agent, recording)
    assert not msgspec.json.decode((agent.data_dir / "agent.json").read_bytes()).get("erasing")


async def test_an_erasure_that_the_disk_refuses_is_finished_before_anything_else(
    site, cameras, ext4_disk, wait_for
):
    agent = await agent_on(site, ext4_disk.folder, cameras, ["cam-1"])
    await site.beat(agent, recording)
    old = old_footage(FootageRoot(agent.data_dir), 1, 1000)
    assert await run("chattr", "+i", str(old[0])) == 0
    token = site.grant("erase", agent.machine, serial="one")
    for command in (Erase(token), site.configure(agent, cameras, ["cam-1"]), Erase(token)):
        with pytest.raises(Unavailable, match="cannot erase its footage"):
            await site.command(agent, command)
    assert await run("chattr", "-i", *(str(path) for path in ext4_disk.folder.rglob(old[0].name))) == 0
    # What it records from now on stays, also after a restart.
    await site.command(agent, site.configure(agent, cameras, ["cam-1"]))
    before = await site.beat(agent, lambda beat: recording(beat) and beat.footage_files >= 1)
    kept = agent.files("recordings")
    await agent.end()
    await agent.start()
    await site.beat(agent, lambda beat: beat.boot != before.boot and recording(beat))
    assert all(path.exists() for path in kept)
    assert not list(ext4_disk.folder.rglob(old[0].name))
