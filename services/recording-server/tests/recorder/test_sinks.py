"""Any number of takers on one connection, coming and going. The fleet runs in this process, so that tests can
attach sinks of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from understudy_contracts.errors import NotFound
from understudy_footage import FootageRoot, recordings_of
from understudy_lab.cameras import SimulatedCameras
from understudy_recording_server.recorder.fan_out import FanOut
from understudy_recording_server.recorder.fleet import Fleet
from understudy_recording_server.recorder.frames import Frame, Streams
from understudy_recording_server.recorder.protocol import Apply, CameraSpec, Report, SubStream, Trouble
from understudy_recording_server.recorder.sub_streams import SubStreams
from understudy_runtime.clock import SystemClock

PATIENCE_S = 20.0
WIDTH = 160  # of the simulated cameras of conftest


class Taker:
    """Notes what it is given, for the test's event loop."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[str | Frame] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def began(self, streams: Streams) -> None:
        self._put(f"began {streams.video.codec_context.width}")

    def take(self, frame: Frame) -> None:
        self._put(frame)

    def ended(self) -> None:
        self._put("ended")

    def _put(self, heard: str | Frame) -> None:
        self._loop.call_soon_threadsafe(self.heard.put_nowait, heard)

    async def next(self) -> str | Frame:
        return await asyncio.wait_for(self.heard.get(), PATIENCE_S)

    async def frames(self, count: int) -> list[Frame]:
        found = [await self.next() for _ in range(count)]
        assert all(isinstance(heard, Frame) for heard in found)
        return found  # type: ignore[return-value]

    async def is_told(self, text: str) -> None:
        """Wait for it, past any frames."""
        while (heard := await self.next()) != text:
            assert isinstance(heard, Frame), heard


class Clumsy(Taker):
    def take(self, frame: Frame) -> None:
        raise KeyError(frame.dts)


@pytest.fixture
def reports() -> list[Report]:
    return []


@pytest.fixture
async def fleet(tmp_path: Path, reports: list[Report]) -> AsyncIterator[Fleet]:
    fleet = Fleet(FootageRoot(tmp_path), reports.append, SystemClock(), 60.0)
    yield fleet
    await asyncio.to_thread(fleet.close)


def _spec(cameras: SimulatedCameras, id_: str, sub: str | None = None) -> CameraSpec:
    return CameraSpec(id_, cameras.url(id_), sub=SubStream(cameras.url(sub)) if sub else None)


async def _until(found: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not found():
            await asyncio.sleep(0.01)


async def test_all_sinks_get_the_same_frames_over_one_connection(fleet: Fleet, cameras, tmp_path) -> None:
    fleet.apply(Apply("", [_spec(cameras, "cam-1")], 1))
    one, other = Taker(), Taker()
    fleet.attach("", "cam-1", one)
    fleet.attach("", "cam-1", other)
    fleet.attach("", "cam-1", other)
    await one.is_told(f"began {WIDTH}")
    await other.is_told(f"began {WIDTH}")
    theirs = await other.frames(30)
    ours = await one.frames(30)
    first = min(len(ours), next(number for number, frame in enumerate(ours) if frame is theirs[0]))
    assert all(a is b for a, b in zip(ours[first:], theirs, strict=False))
    assert [frame.dts for frame in ours] == sorted({frame.dts for frame in ours})
    assert any(frame.is_key for frame in ours)
    assert len(cameras.camera("cam-1").viewers) == 1
    fleet.apply(Apply("", [], 2))
    await one.is_told("ended")
    await _until(lambda: "cam-1" in recordings_of(FootageRoot(tmp_path)))


async def test_a_detached_sink_gets_no_more_and_one_attached_midway_hears_the_streams_first(
    fleet: Fleet, cameras
) -> None:
    fleet.apply(Apply("", [_spec(cameras, "cam-1")], 1))
    early = Taker()
    fleet.attach("", "cam-1", early)
    await early.is_told(f"began {WIDTH}")
    await early.frames(3)
    late = Taker()
    fleet.attach("", "cam-1", late)
    assert await late.next() == f"began {WIDTH}"
    await late.frames(3)
    fleet.detach("", "cam-1", early)
    [last] = (await late.frames(2))[1:]
    while not early.heard.empty():
        early.heard.get_nowait()
    await late.frames(5)
    assert early.heard.empty()
    assert not last.jumped


async def test_a_sink_outlives_lost_connections_and_a_new_address(fleet: Fleet, cameras) -> None:
    fleet.apply(Apply("", [_spec(cameras, "cam-1")], 1))
    taker = Taker()
    fleet.attach("", "cam-1", taker)
    await taker.is_told(f"began {WIDTH}")
    await taker.frames(3)
    cameras.camera("cam-1").drop_viewers()
    await taker.is_told("ended")
    await taker.is_told(f"began {WIDTH}")
    await taker.frames(3)
    fleet.apply(Apply("", [CameraSpec("cam-1", cameras.url("cam-2"))], 2))
    await taker.is_told("ended")
    await taker.is_told(f"began {WIDTH}")
    await taker.frames(3)


async def test_a_sink_that_fails_harms_no_other(fleet: Fleet, cameras, reports, tmp_path) -> None:
    fleet.apply(Apply("", [_spec(cameras, "cam-1")], 1))
    taker = Taker()
    fleet.attach("", "cam-1", Clumsy())
    fleet.attach("", "cam-1", taker)
    await taker.is_told(f"began {WIDTH}")
    await taker.frames(10)
    told = [report.reason for report in reports if isinstance(report, Trouble)]
    assert told == ["Clumsy failed with KeyError and gets no more frames"]
    [status] = fleet.statuses(measure=False)
    assert (status.state, status.reconnects) == ("recording", 0)


async def test_a_sub_stream_is_open_while_somebody_takes_it(fleet: Fleet, cameras) -> None:
    sub = cameras.camera("cam-2")
    fleet.apply(Apply("", [_spec(cameras, "cam-1", sub="cam-2")], 1))
    main = Taker()
    fleet.attach("", "cam-1", main)
    await main.is_told(f"began {WIDTH}")
    assert sub.viewers == []
    one, other = Taker(), Taker()
    for taker in [one, other]:
        fleet.attach("", "cam-1", taker, "sub")
        await taker.is_told(f"began {WIDTH}")
        await taker.frames(3)
    assert len(sub.viewers) == 1
    [status] = fleet.statuses(measure=True)
    assert status.camera == "cam-1"
    fleet.detach("", "cam-1", one, "sub")
    await other.frames(3)
    # Another sub stream does not interrupt the main one.
    fleet.apply(Apply("", [_spec(cameras, "cam-1", sub="cam-3")], 2))
    await other.is_told("ended")
    await other.is_told(f"began {WIDTH}")
    await _until(lambda: not sub.viewers)
    assert len(cameras.camera("cam-3").viewers) == 1
    fleet.detach("", "cam-1", other, "sub")
    await _until(lambda: not cameras.camera("cam-3").viewers)
    assert [status.reconnects for status in fleet.statuses(measure=False)] == [0]
    assert len(cameras.camera("cam-1").viewers) == 1


async def test_a_sub_stream_that_is_wanted_again_at_once_waits_for_the_last() -> None:
    made: list[Future[None] | None] = []
    ending: Future[None] = Future()

    def make(_folder: str, spec: CameraSpec, after: Future[None] | None) -> Any:
        made.append(after)
        return SimpleNamespace(spec=spec, start=lambda: None)

    subs, fan_out, taker = SubStreams(make, lambda _: ending), FanOut(lambda *_: None), Taker()
    for _ in range(2):
        fan_out.attach(taker)
        subs.want("", "cam-1", SubStream("rtsp://127.0.0.1/sub"), fan_out)
        fan_out.detach(taker)
        subs.want("", "cam-1", SubStream("rtsp://127.0.0.1/sub"), fan_out)
    assert made == [None, ending]


async def test_streams_that_are_not_there_are_refused(fleet: Fleet, cameras) -> None:
    fleet.apply(Apply("", [_spec(cameras, "cam-1")], 1))
    with pytest.raises(NotFound, match="cam-9"):
        fleet.attach("", "cam-9", Taker())
    with pytest.raises(NotFound, match="cam-1"):
        fleet.attach("", "cam-1", Taker(), "sub")
    fleet.detach("", "cam-9", Taker())
