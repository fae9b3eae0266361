"""The bus goes away, disks fill up, limits hold: recording does not depend on any of it (promise P9)."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_contracts.machine import OwnCameras
from understudy_contracts.model import CameraState, StorageState
from understudy_lab.frames import find_gaps, read_frames
from understudy_recording_server.rate_limit import Bucket
from understudy_recording_server.storage import StorageWatch, judge

FPS = 25


class Cable:
    """A TCP connection to the bus that can be pulled out."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._host, self._port = str(parts.hostname), int(parts.port or 0)
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def plug_in(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def pull_out(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            there, back = await asyncio.open_connection(self._host, self._port)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(reader, back))
                group.create_task(self._carry(there, writer))
        except (asyncio.CancelledError, ExceptionGroup, OSError):
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(1 << 16):
                target.write(data)
                await target.drain()
        finally:
            target.transport.abort()


@pytest.fixture
async def cable(host) -> AsyncIterator[Cable]:
    made = Cable(host.nats_url)
    await made.plug_in()
    yield made
    with contextlib.suppress(OSError):
        await made.pull_out()


async def test_recording_goes_on_without_the_bus(site, cameras, cable, wait_for):
    site.nats_url = f"nats://127.0.0.1:{cable.port}"
    agent = await site.recording_server("north", cameras, ["cam-1", "cam-2"])
    before = await site.beat(agent, lambda beat: all(c.first_key_frame_at for c in beat.cameras))
    await cable.pull_out()
    count = len(agent.files("recordings"))
    await wait_for(lambda: len(agent.files("recordings")) >= count + 4)
    heard = []
    site.on_beat = heard.append
    await cable.plug_in()
    after = await site.beat(agent, lambda beat: beat.sequence > before.sequence)
    assert after.boot == before.boot
    assert isinstance(after.duty, OwnCameras)
    assert [camera.state for camera in after.cameras] == [CameraState.RECORDING] * 2
    # What was not sent is not sent afterwards: no message is older than the connection.
    await site.beat(agent, lambda beat: beat.sequence > after.sequence + 2)
    assert all(later.sequence >= after.sequence for later in heard)
    assert heard[-1].sent_at - heard[0].sent_at < 3000
    await agent.end()
    frames = [frame for file in agent.files("recordings") for frame in read_frames(file)]
    assert find_gaps(frames, FPS) == {"cam-1": [], "cam-2": []}


@given(
    takes=st.lists(st.tuples(st.integers(1, 1000), st.floats(0, 3)), min_size=1, max_size=50),
    rate=st.integers(100, 10_000),
)
def test_no_more_passes_than_the_rate(takes, rate):
    now, passed = 0.0, 0
    bucket = Bucket(now)
    for count, pause in takes:
        now += pause
        now += bucket.take(count, rate, now)
        # What was taken before this moment, at least, has had its time.
        assert passed <= rate * now + 1e-6
        passed += count
    assert bucket.take(10**9, None, now) == 0.0


@pytest.mark.parametrize(
    ("total", "free", "failure", "expected"),
    [
        (10**12, 10**11, None, StorageState.NORMAL),
        (10**12, 10**8, None, StorageState.FULL),
        (10**6, 10**5, None, StorageState.NORMAL),
        (10**6, 10**4, None, StorageState.FULL),
        (10**12, 10**11, OSError(errno.ENOSPC, "full"), StorageState.FULL),
        (10**12, 10**11, OSError(errno.EIO, "broken"), StorageState.DAMAGED),
        (10**12, 10**11, OSError(errno.EROFS, "read-only"), StorageState.DAMAGED),
    ],
)
def test_what_a_reading_of_the_disk_means(total, free, failure, expected):
    assert judge(total, free, failure).state is expected


async def test_a_full_disk_is_told_and_so_is_room_again(small_disk):
    changes: list[StorageState] = []
    watch = StorageWatch(small_disk, [small_disk], lambda: changes.append(watch.storage.state))
    await watch.read()
    assert watch.storage.state is StorageState.NORMAL
    filling = small_disk / "filling"
    with contextlib.suppress(OSError), filling.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    await watch.read()
    await watch.measure()
    assert watch.storage.state is StorageState.FULL
    assert watch.footage_bytes >= filling.stat().st_size
    filling.unlink()
    await watch.read()
    assert changes == [StorageState.FULL, StorageState.NORMAL]


async def test_a_vanished_folder_is_a_damaged_disk(tmp_path):
    watch = StorageWatch(tmp_path / "gone", [], lambda: None)
    await watch.read()
    assert watch.storage.state is StorageState.DAMAGED
    assert "cannot be written" in watch.storage.reason
