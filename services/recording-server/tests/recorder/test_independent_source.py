"""Recording from an RTSP server that is not ours; the files are judged by ffprobe, which is not either."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from understudy_footage import FootageRoot, recordings_of
from understudy_lab.ffprobe import probe
from understudy_lab.gstreamer import (
    AAC,
    G711,
    H264,
    H265,
    PACKAGES,
    SLICES,
    GStreamerCameras,
    camera,
    missing,
)
from understudy_recording_server.media.finding import clips_of
from understudy_recording_server.media.span import cuts_of, open_span, read_span

WIDE = "video/x-raw,width=640,height=360"


@pytest.fixture(scope="module", autouse=True)
def tools(require_tool: Callable[[str, str], str]) -> None:
    require_tool("ffprobe", "ffmpeg")
    if missing():
        # No program to look for: the name says what is not there.
        require_tool("GStreamer's RTSP server", PACKAGES)


@pytest.fixture
async def real_cameras() -> AsyncIterator[GStreamerCameras]:
    mounts = {
        "h264": camera(H264),
        "slices": camera(SLICES),
        "threads": camera(H264 + " sliced-threads=true threads=4"),
        "h265": camera(H265),
        "aac": camera(SLICES, AAC),
        "h265-aac": camera(H265, AAC),
        "g711": camera(SLICES, G711),
    }
    async with GStreamerCameras(mounts) as running:
        yield running


async def _files(data: Path, camera_id: str) -> list[list[dict]]:
    """All files of a camera as ffprobe sees them: the video stream first."""
    found = recordings_of(FootageRoot(data)).get(camera_id, [])
    assert found
    return [await probe(data / one.path.path) for one in found]


async def _written(recorder, camera_id: str, frames: int, since: int = 0) -> None:
    await recorder.until(
        lambda report: (
            report["kind"] == "status"
            and any(
                one["camera"] == camera_id and one.get("frames_written", 0) >= frames
                for one in report["cameras"]
            )
        ),
        since=since,
    )


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize(
    ("name", "codec", "sound"),
    [
        ("h264", "h264", None),
        ("slices", "h264", None),
        ("threads", "h264", None),
        ("h265", "hevc", None),
        ("aac", "h264", "aac"),
        ("h265-aac", "hevc", "aac"),
        ("g711", "h264", "pcm_mulaw"),
    ],
)
async def test_what_it_sends_is_in_the_files(
    start_recorder, real_cameras, tmp_path: Path, name: str, codec: str, sound: str | None, transport: str
) -> None:
    recorder = await start_recorder("--segment-seconds", "1")
    await recorder.apply([{"id": "one", "url": real_cameras.url(name), "transport": transport}])
    await recorder.hears("segment", count=2)
    await recorder.shut_down()
    [last] = [status["cameras"] for status in recorder.told("status") if status["cameras"]][-1]
    files = await _files(tmp_path / "data", "one")
    assert len(files) >= 3
    decoded = 0
    for number, streams in enumerate(files, 1):
        assert [stream["codec_name"] for stream in streams] == [codec, *([sound] if sound else [])]
        video = streams[0]
        assert (video["width"], video["height"]) == (320, 240)
        # As many pictures as there are samples: no frame is in parts.
        assert video["nb_read_frames"] == video["nb_read_packets"]
        decoded += int(video["nb_read_frames"])
        if codec == "hevc":
            assert video["codec_tag_string"] == "hvc1"
        if sound:
            assert abs(float(streams[1]["start_time"]) - float(video["start_time"])) < 0.1
        if sound and number < len(files):
            # A second of AAC is 43 frames. Of the last pictures the source may not have sent it yet.
            if sound == "aac":
                assert int(streams[1]["nb_read_frames"]) > float(video["duration"]) * 43 - 6
            assert abs(float(streams[1]["duration"]) - float(video["duration"])) < 0.2
    assert decoded >= last["frames_written"]
    joined = await _joined(tmp_path / "data", tmp_path / "joined.mp4")
    assert [stream["codec_name"] for stream in joined] == [codec, *([sound] if sound else [])]
    assert int(joined[0]["nb_read_frames"]) == decoded
    if sound:
        assert abs(float(joined[1]["duration"]) - float(joined[0]["duration"])) < 0.5


async def _joined(data: Path, to: Path) -> list[dict]:
    """All recordings of the camera as one, as playback gives them."""
    now_ms = int(time.time() * 1000)
    clips = clips_of(FootageRoot(data), "one", 0, now_ms)
    span = open_span(cuts_of(clips, 0, now_ms))
    assert span is not None
    to.write_bytes(b"".join(read_span(span, 0, span.size)))
    return await probe(to)


REORDERED = "x264enc bframes=2 b-adapt=false key-int-max=25 bitrate=300 speed-preset=ultrafast"
REORDERED_H265 = "x265enc key-int-max=25 bitrate=300 speed-preset=ultrafast"
REFRESHED = "x264enc tune=zerolatency intra-refresh=true key-int-max=25 bitrate=300"


@pytest.mark.parametrize("encoder", [REORDERED, REORDERED_H265, REFRESHED])
async def test_pictures_in_another_order_and_without_key_pictures_are_recorded(
    start_recorder, tmp_path: Path, encoder: str
) -> None:
    async with GStreamerCameras({"one": camera(encoder)}) as source:
        recorder = await start_recorder()
        await recorder.apply([{"id": "one", "url": source.url("one")}])
        await _written(recorder, "one", 75)
        await recorder.shut_down()
    [*_, [video]] = await _files(tmp_path / "data", "one")
    # What follows a key frame in time but needs one before it, as at the beginning, is shown by nobody.
    assert int(video["nb_read_packets"]) - 25 <= int(video["nb_read_frames"]) <= int(video["nb_read_packets"])
    assert int(video["nb_read_frames"]) > 50
    # FFmpeg has to guess when the first of them are to be decoded.
    assert float(video["duration"]) == pytest.approx(int(video["nb_read_packets"]) / 25, abs=0.4)


async def test_sound_can_be_left_out(start_recorder, real_cameras, tmp_path: Path) -> None:
    recorder = await start_recorder()
    await recorder.apply(
        [
            {"id": name, "url": real_cameras.url(source), "audio": "off"}
            for name, source in (("one", "aac"), ("other", "g711"))
        ]
    )
    await recorder.hears("first-key-frame", count=2)
    await recorder.shut_down()
    for name in ("one", "other"):
        for streams in await _files(tmp_path / "data", name):
            assert [stream["codec_type"] for stream in streams] == ["video"]


@pytest.mark.parametrize("encoder", [SLICES, H265])
async def test_another_resolution_midway_begins_another_file(
    start_recorder, tmp_path: Path, encoder: str
) -> None:
    async with GStreamerCameras({"one": camera(encoder)}) as source:
        recorder = await start_recorder()
        await recorder.apply([{"id": "one", "url": source.url("one")}])
        await _written(recorder, "one", 20)
        await source.set("one", "size", "caps", WIDE)
        await recorder.hears("segment")
        await _written(recorder, "one", 60, since=len(recorder.reports))
        await recorder.shut_down()
    files = await _files(tmp_path / "data", "one")
    sizes = [(streams[0]["width"], streams[0]["height"]) for streams in files]
    assert sizes == [(320, 240), (640, 360)], recorder.told("camera")
    for [video] in files:
        assert video["nb_read_frames"] == video["nb_read_packets"]


async def test_a_source_that_restarts_is_recorded_again(start_recorder, tmp_path: Path) -> None:
    source = GStreamerCameras({"one": camera(H264, AAC), "other": camera(H265)})
    recorder = await start_recorder()
    await source.start()
    try:
        await recorder.apply([{"id": name, "url": source.url(name)} for name in ["one", "other"]])
        await recorder.hears("camera", count=2, state="recording")
        await source.stop()
        for name in ["one", "other"]:
            [lost] = await recorder.until(
                lambda report, name=name: (
                    report["kind"] == "camera"
                    and report["camera"] == name
                    and report["state"] in {"reconnecting", "refused"}
                )
            )
            assert lost["reason"]
        since = len(recorder.reports)
        await source.start()
        await recorder.hears("camera", count=2, state="recording", since=since)
        await recorder.shut_down()
    finally:
        await source.stop()
    for name in ["one", "other"]:
        assert len(await _files(tmp_path / "data", name)) == 2


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_a_source_that_stalls_is_noticed_and_comes_back(
    start_recorder, tmp_path: Path, transport: str
) -> None:
    async with GStreamerCameras({"one": camera(H264), "other": camera(H264)}) as source:
        recorder = await start_recorder()
        await recorder.apply(
            [{"id": name, "url": source.url(name), "transport": transport} for name in ["one", "other"]]
        )
        await recorder.hears("camera", count=2, state="recording")
        since = len(recorder.reports)
        await source.set("one", "valve", "drop", "true")
        stalled_at = time.monotonic()
        [noticed] = await recorder.hears("camera", camera="one", state="reconnecting", since=since)
        assert time.monotonic() - stalled_at < 5.5
        assert "stalled" in noticed["reason"]
        await source.set("one", "valve", "drop", "false")
        await recorder.hears("camera", camera="one", state="recording", since=since)
        await recorder.shut_down()
    assert recorder.told("camera", camera="other")[-2]["state"] == "recording"
    assert len(await _files(tmp_path / "data", "one")) >= 2
    assert len(await _files(tmp_path / "data", "other")) == 1


async def test_digest_login(start_recorder, tmp_path: Path) -> None:
    async with GStreamerCameras({"one": camera(H264)}, login=("viewer", "s3cret")) as source:
        recorder = await start_recorder()
        url = source.url("one")
        await recorder.apply(
            [
                {"id": "right", "url": url, "username": "viewer", "password": "s3cret"},
                {"id": "wrong", "url": url, "username": "viewer", "password": "other"},
                {"id": "none", "url": url},
            ]
        )
        await recorder.hears("first-key-frame", camera="right")
        for name in ["wrong", "none"]:
            [refused] = await recorder.hears("camera", camera=name, state="refused")
            assert "user name or password" in refused["reason"]
        await recorder.shut_down()


async def test_the_cameras_clock_is_compared_with_ours(start_recorder, real_cameras) -> None:
    recorder = await start_recorder()
    await recorder.apply([{"id": "one", "url": real_cameras.url("h264")}])
    # Its first sender report may take some seconds.
    [status] = await recorder.until(
        lambda report: (
            report["kind"] == "status"
            and any(one.get("clock_skew_ms") is not None for one in report["cameras"])
        )
    )
    assert -500 < status["cameras"][0]["clock_skew_ms"] <= 5


@pytest.mark.parametrize("sound", ["aac", "g711"])
async def test_a_file_with_sound_is_recovered_after_kill_9(
    start_recorder, real_cameras, tmp_path, sound
) -> None:
    first_life = await start_recorder()
    await first_life.apply([{"id": "one", "url": real_cameras.url(sound)}])
    await _written(first_life, "one", 60)
    await first_life.kill()
    second_life = await start_recorder()
    [recovered] = await second_life.hears("recovered")
    # A fragment is 0.2 s long, and the muxer and the joiner hold a frame each.
    assert recovered["duration_ms"] > (60 - 10) * 40
    await second_life.shut_down()
    [[video, sound]] = await _files(tmp_path / "data", "one")
    assert abs(float(video["duration"]) - float(sound["duration"])) < 0.3
