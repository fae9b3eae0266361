"""A camera's silence, and ours."""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import Iterator

import pytest
from understudy_recording_server.recorder.sources import direct
from understudy_recording_server.recorder.sources.addresses import camera_address
from understudy_recording_server.recorder.sources.direct import DirectSource
from understudy_recording_server.recorder.sources.direct_opening import open_directly
from understudy_recording_server.recorder.sources.problems import STALLED, SourceProblem
from understudy_recording_server.recorder.sources.read_loop import ReadLoop
from understudy_runtime.clock import SystemClock

PATIENCE_MS = 10_000


@pytest.fixture
def loop() -> Iterator[ReadLoop]:
    running = ReadLoop(pytest.fail)
    yield running
    running.close()


def opened(url: str, loop: ReadLoop) -> DirectSource:
    return open_directly(camera_address(url), "127.0.0.1", SystemClock(), loop, with_sound=False)


def has_unread(source: DirectSource, within_ms: int = PATIENCE_MS) -> bool:
    poll = select.poll()
    poll.register(source.fileno(), select.POLLIN)
    return bool(poll.poll(within_ms))


async def test_only_a_camera_of_which_nothing_waits_for_us_is_stalled(cameras, loop, monkeypatch):
    source = await asyncio.to_thread(opened, cameras.url("cam-1"), loop)
    with contextlib.closing(source):
        frames = []
        await asyncio.to_thread(source.deliver, lambda frame: frames.append(frame) or len(frames) < 5)
        monkeypatch.setattr(direct, "SOCKET_TIMEOUT_S", 0.0)  # Now we are late, however soon we come.
        assert await asyncio.to_thread(has_unread, source)
        source.care()
        cameras.camera("cam-1").set_fault("stall")
        monkeypatch.setattr(source, "_take", lambda _: True)
        while has_unread(source, 0):
            source.receive(memoryview(bytearray(1 << 16)))
        with pytest.raises(SourceProblem, match=STALLED):
            source.care()
