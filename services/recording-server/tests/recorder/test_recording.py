"""Frames on disk, told by the numbers that the cameras put into them."""

from itertools import pairwise
from pathlib import Path

from understudy_footage import FootageRoot, parts_of, recordings_of
from understudy_lab.ffprobe import probe
from understudy_lab.frames import FrameMark, find_gaps, read_frames

FPS = 25


def frames_of(root: Path, camera: str) -> list[FrameMark]:
    found = recordings_of(FootageRoot(root)).get(camera, [])
    return [frame for recording in found for frame in read_frames(root / recording.path.path)]


def no_frame_is_missing(frames: list[FrameMark]) -> bool:
    numbers = [frame.number for frame in frames]
    return numbers == list(range(numbers[0], numbers[0] + len(numbers))) and not any(
        find_gaps(frames, FPS).values()
    )


async def test_no_frame_is_lost_or_doubled_between_files(start_recorder, spec, tmp_path: Path) -> None:
    recorder = await start_recorder("--segment-seconds", "1")
    await recorder.apply([spec("cam-1"), spec("cam-2")])
    for camera in ["cam-1", "cam-2"]:
        await recorder.hears("segment", count=3, camera=camera)
    await recorder.shut_down()
    index = recordings_of(FootageRoot(tmp_path / "data"))
    for camera in ["cam-1", "cam-2"]:
        frames = frames_of(tmp_path / "data", camera)
        assert frames[0].is_key
        assert no_frame_is_missing(frames)
        assert len(index[camera]) >= 4
        for one, next_one in pairwise(index[camera]):
            assert one.name.end_ms == next_one.name.start_ms
        assert all(read_frames(tmp_path / "data" / found.path.path)[0].is_key for found in index[camera])
    assert parts_of(FootageRoot(tmp_path / "data")) == []
    reported = {(found["path"], found["size"]) for found in recorder.told("segment")}
    assert reported == {(found.path.text, found.size) for group in index.values() for found in group}


async def test_names_tell_when_the_frames_were_taken(start_recorder, spec, tmp_path: Path) -> None:
    recorder = await start_recorder("--segment-seconds", "1")
    await recorder.apply([spec("cam-1")])
    await recorder.hears("segment", count=2)
    await recorder.shut_down()
    for recording in recordings_of(FootageRoot(tmp_path / "data"))["cam-1"]:
        first = read_frames(tmp_path / "data" / recording.path.path)[0]
        assert abs(recording.name.start_ms - first.captured_ms) < 500


async def test_a_reported_first_key_frame_is_on_disk(start_recorder, spec, tmp_path: Path) -> None:
    recorder = await start_recorder()
    await recorder.apply([spec("cam-1")], generation=7)
    [first] = await recorder.hears("first-key-frame")
    frames = read_frames(tmp_path / "data" / first["file"])
    assert frames[0].is_key
    assert (first["camera"], first["generation"]) == ("cam-1", 7)
    assert first["connected_at_ms"] <= first["at_ms"]


async def test_a_new_set_does_not_touch_unchanged_cameras(start_recorder, spec, tmp_path: Path) -> None:
    recorder = await start_recorder()
    await recorder.apply([spec("cam-1"), spec("cam-2")], generation=1)
    await recorder.hears("first-key-frame", count=2)
    await recorder.apply([spec("cam-1"), spec("cam-3")], generation=2)
    await recorder.hears("applied", generation=2, started=["cam-3"], stopped=["cam-2"], kept=["cam-1"])
    await recorder.hears("stopped", camera="cam-2")
    [kept] = await recorder.hears("first-key-frame", camera="cam-1", generation=2)
    [before] = recorder.told("first-key-frame", camera="cam-1", generation=1)
    assert (kept["at_ms"], kept["file"]) == (before["at_ms"], before["file"])
    assert no_frame_is_missing(frames_of(tmp_path / "data", "cam-2"))
    await recorder.hears("first-key-frame", camera="cam-3", generation=2)
    await recorder.shut_down()
    # The file of the unchanged camera was not even cut.
    [_] = recordings_of(FootageRoot(tmp_path / "data"))["cam-1"]
    assert no_frame_is_missing(frames_of(tmp_path / "data", "cam-1"))


async def test_a_camera_with_a_new_address_is_started_anew(start_recorder, spec) -> None:
    recorder = await start_recorder()
    await recorder.apply([spec("cam-1")], generation=1)
    await recorder.hears("first-key-frame", generation=1)
    await recorder.apply([spec("cam-1", username="u", password="p")], generation=2)
    await recorder.hears("applied", generation=2, started=["cam-1"], stopped=["cam-1"])
    await recorder.hears("stopped", camera="cam-1", generation=1)
    await recorder.hears("first-key-frame", generation=2)


async def test_two_folders_are_served_at_once(start_recorder, spec, tmp_path: Path) -> None:
    recorder = await start_recorder()
    await recorder.apply([spec("cam-1")])
    await recorder.apply([spec("cam-1"), spec("cam-2")], folder="failovers/f-12")
    await recorder.hears("first-key-frame", count=3)
    await recorder.send(kind="stop", folder="failovers/f-12")
    await recorder.hears("stopped", count=2, folder="failovers/f-12")
    away = FootageRoot(tmp_path / "data").failover("f-12")
    assert set(recordings_of(away)) == {"cam-1", "cam-2"}
    assert parts_of(away) == []
    here = len(recorder.reports)
    [status] = await recorder.until(
        lambda report: report["kind"] == "status" and len(report["cameras"]) == 1, since=here
    )
    assert (status["cameras"][0]["folder"], status["cameras"][0]["state"]) == ("", "recording")
    await recorder.shut_down()
    assert no_frame_is_missing(frames_of(tmp_path / "data", "cam-1"))


async def test_live_only_writes_nothing(start_recorder, spec, tmp_path: Path) -> None:
    recorder = await start_recorder()
    await recorder.apply([spec("cam-1", record=False)])
    [first] = await recorder.hears("first-key-frame")
    assert first["file"] is None
    await recorder.hears("camera", state="live")
    await recorder.until(
        lambda report: report["kind"] == "status" and report["cameras"][0].get("bitrate_bps")
    )
    await recorder.shut_down()
    assert recordings_of(FootageRoot(tmp_path / "data")) == {}
    assert parts_of(FootageRoot(tmp_path / "data")) == []


async def test_the_status_shows_growing_footage(start_recorder, spec) -> None:
    recorder = await start_recorder()
    await recorder.apply([spec("cam-1")])

    def shows_rates(report: dict) -> bool:
        return report["kind"] == "status" and any(20 < one.get("fps", 0) < 30 for one in report["cameras"])

    [one, other] = await recorder.until(shows_rates, count=2)
    [before], [after] = one["cameras"], other["cameras"]
    assert after["bytes_written"] > before["bytes_written"]
    assert after["frames_written"] > before["frames_written"]
    assert after["last_frame_at_ms"] > before["last_frame_at_ms"]
    assert 50_000 < after["bitrate_bps"] < 1_000_000


async def test_after_kill_9_everything_that_was_whole_is_kept(start_recorder, spec, tmp_path: Path) -> None:
    first_life = await start_recorder()
    await first_life.apply([spec("cam-1"), spec("cam-2")])
    [last] = await first_life.until(
        lambda report: (
            report["kind"] == "status"
            and len(report["cameras"]) == 2
            and all(one.get("frames_written", 0) > 30 for one in report["cameras"])
        )
    )
    await first_life.kill()
    assert len(parts_of(FootageRoot(tmp_path / "data"))) == 2
    second_life = await start_recorder()
    recovered = {found["camera"]: found for found in await second_life.hears("recovered", count=2)}
    assert set(recovered) == {"cam-1", "cam-2"}
    assert parts_of(FootageRoot(tmp_path / "data")) == []
    for status in last["cameras"]:
        frames = frames_of(tmp_path / "data", status["camera"])
        assert no_frame_is_missing(frames)
        # The muxer holds back one frame at most.
        assert len(frames) >= status["frames_written"] - 1
        path = tmp_path / "data" / recovered[status["camera"]]["path"]
        assert path.stat().st_size == recovered[status["camera"]]["kept_bytes"]
        assert abs(recovered[status["camera"]]["duration_ms"] - len(frames) * 40) <= 80
    await second_life.apply([spec("cam-1")])
    await second_life.hears("first-key-frame")


async def test_no_camera_waits_for_what_a_crash_left(start_recorder, spec, tmp_path: Path) -> None:
    first_life = await start_recorder()
    await first_life.apply([spec("cam-1")])
    await first_life.until(
        lambda report: (
            report["kind"] == "status" and any(one.get("frames_written", 0) > 30 for one in report["cameras"])
        )
    )
    await first_life.kill()
    [part] = parts_of(FootageRoot(tmp_path / "data"))
    # As much as 90 cameras leave in a minute: seconds of work.
    data = part.path.read_bytes()
    fragments = data[data.index(b"moof") - 4 :]
    for number in range(1, 41):
        later = FootageRoot(tmp_path / "data").part("cam-1", part.name.start_ms + number)
        later.write_bytes(data + fragments * 70)
    second_life = await start_recorder()
    await second_life.apply([spec("cam-1")])
    await second_life.hears("recovered", count=41)
    kinds = [report["kind"] for report in second_life.reports]
    assert "recovered" in kinds[kinds.index("first-key-frame") :]
    assert [one["path"] for one in second_life.told("recovered") if one["path"] is None] == []
    await second_life.shut_down()
    assert parts_of(FootageRoot(tmp_path / "data")) == []


async def test_ffprobe_reads_finished_and_recovered_files(
    start_recorder, spec, tmp_path: Path, require_tool
) -> None:
    require_tool("ffprobe", "ffmpeg")
    first_life = await start_recorder("--segment-seconds", "1")
    await first_life.apply([spec("cam-1")])
    await first_life.hears("segment")
    await first_life.hears("status", count=2, since=len(first_life.reports))
    await first_life.kill()
    await (await start_recorder()).shut_down()
    files = [found for group in recordings_of(FootageRoot(tmp_path / "data")).values() for found in group]
    assert len(files) >= 2
    for found in files:
        path = tmp_path / "data" / found.path.path
        [video] = await probe(path)
        assert int(video["nb_read_frames"]) == len(read_frames(path))
