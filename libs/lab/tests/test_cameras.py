"""Simulated cameras, watched by real players and recorded into real files."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import av.error
import pytest
from understudy_contracts.errors import ConfigurationError, InvalidId
from understudy_lab.cameras import ClipSettings, Fault, Login, SimulatedCameras, camera_ids
from understudy_lab.frames import FrameMark, find_gaps, read_frames

SMALL = ClipSettings(width=320, height=180, fps=25, bitrate_kbit=300, gop_s=0.4, length_s=2.0)
LOGIN = Login("viewer", "p@ss word/1")
PLAYER = {"rtsp_transport": "tcp", "analyzeduration": "0", "probesize": "32768"}


@pytest.fixture
async def cameras(clip_folder: Path) -> AsyncIterator[SimulatedCameras]:
    logins = {"cam-2": LOGIN}
    async with SimulatedCameras(camera_ids(3), clip=SMALL, logins=logins, cache_dir=clip_folder) as running:
        yield running


def record(url: str, file: Path, frames: int, stop: threading.Event | None = None) -> None:
    """Copy a stream into a fragmented MP4 until so many frames have come, or the stream ends."""
    with (
        av.open(url, options=PLAYER, timeout=5) as source,
        av.open(
            str(file),
            "w",
            format="mp4",
            options={"movflags": "frag_every_frame+empty_moov+default_base_moof"},
        ) as sink,
    ):
        video = source.streams.video[0]
        copy = sink.add_stream_from_template(video)
        count = 0
        try:
            for packet in source.demux(video):
                if packet.size:
                    packet.pts = packet.dts = count * 3600
                    packet.time_base = Fraction(1, 90_000)
                    packet.stream = copy
                    sink.mux(packet)
                    count += 1
                if count == frames or (stop and stop.is_set()):
                    break
        except av.error.FFmpegError:
            return  # the camera is gone; what came is in the file


async def recorded(url: str, file: Path, frames: int) -> list[FrameMark]:
    await asyncio.to_thread(record, url, file, frames)
    return read_frames(file)


async def wait_for(what: Callable[[], bool], within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not what():
            await asyncio.sleep(0.01)


async def ask(url: str, method: str = "DESCRIBE", within_s: float = 20.0) -> bytes:
    """One request on a connection of its own; the first line of what comes.

    Raises TimeoutError if nothing comes, and what asyncio raises if the connection is closed.
    """
    host, port = url.removeprefix("rtsp://").partition("/")[0].rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(f"{method} {url} RTSP/1.0\r\nCSeq: 5\r\n\r\n".encode())
        async with asyncio.timeout(within_s):
            return await reader.readuntil(b"\r\n")
    finally:
        writer.close()
        await writer.wait_closed()


async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, url: str) -> None:
    """What a viewer must say before frames come."""
    transport = "Transport: RTP/AVP/TCP;interleaved=0-1"
    writer.write(f"SETUP {url}/track0 RTSP/1.0\r\nCSeq: 1\r\n{transport}\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    session = head.partition("Session: ")[2].partition(";")[0]
    writer.write(f"PLAY {url} RTSP/1.0\r\nCSeq: 2\r\nSession: {session}\r\n\r\n".encode())


async def test_ffprobe_reads_the_stream(cameras: SimulatedCameras, ffprobe: str) -> None:
    process = await asyncio.create_subprocess_exec(
        ffprobe,
        *("-v", "error", "-rtsp_transport", "tcp", "-count_frames", "-read_intervals", "%+#60"),
        *("-show_entries", "stream=codec_name,width,height,r_frame_rate,has_b_frames,nb_read_frames"),
        *("-of", "json", cameras.url("cam-1")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    (stream,) = json.loads(out)["streams"]
    assert process.returncode == 0
    assert (stream["codec_name"], stream["width"], stream["height"]) == ("h264", 320, 180)
    assert (stream["r_frame_rate"], stream["has_b_frames"]) == ("25/1", 0)
    # It joins in the middle of a group of pictures, and counts what it can decode.
    assert int(stream["nb_read_frames"]) >= 60 - SMALL.gop_frames


async def test_recorded_frames_are_contiguous_and_timed(cameras: SimulatedCameras, tmp_path: Path) -> None:
    before_ms = time.time() * 1000
    frames = await recorded(cameras.url("cam-1"), tmp_path / "a.mp4", 60)
    assert len(frames) == 60
    assert {frame.camera for frame in frames} == {"cam-1"}
    assert [frame.number for frame in frames] == list(range(frames[0].number, frames[0].number + 60))
    keys = [frame.number for frame in frames if frame.is_key]
    assert {second - first for first, second in pairwise(keys)} == {SMALL.gop_frames}
    assert frames[59].captured_ms - frames[0].captured_ms == pytest.approx(59 * 40, abs=1)
    assert before_ms - 100 < frames[0].captured_ms < time.time() * 1000
    assert find_gaps(frames, SMALL.fps) == {"cam-1": []}
    with av.open(str(tmp_path / "a.mp4")) as file:  # what was recorded can be played
        assert sum(1 for _ in file.decode(video=0)) >= 60 - SMALL.gop_frames


async def test_cut_off_file_gives_its_whole_frames(cameras: SimulatedCameras, tmp_path: Path) -> None:
    frames = await recorded(cameras.url("cam-1"), tmp_path / "a.mp4", 30)
    data = (tmp_path / "a.mp4").read_bytes()
    counts = []
    for part in (len(data) - 10, len(data) * 2 // 3, len(data) // 3, 700, 20, 0):
        (tmp_path / "cut.mp4").write_bytes(data[:part])
        found = read_frames(tmp_path / "cut.mp4")
        assert found == frames[: len(found)]
        counts.append(len(found))
    assert counts[0] >= 28
    assert 2 < counts[2] < counts[1] < counts[0]
    assert counts[-1] == 0
    with pytest.raises(FileNotFoundError):
        read_frames(tmp_path / "none.mp4")


async def test_two_viewers_see_the_same_frames(cameras: SimulatedCameras, tmp_path: Path) -> None:
    url = cameras.url("cam-1")
    one, two = await asyncio.gather(
        recorded(url, tmp_path / "1.mp4", 40), recorded(url, tmp_path / "2.mp4", 40)
    )
    common = set(one) & set(two)
    assert len(common) > 20
    assert {frame.number for frame in common} == set(
        range(max(one[0].number, two[0].number), min(one[-1].number, two[-1].number) + 1)
    )


async def test_cameras_differ_in_phase(clip_folder: Path, tmp_path: Path) -> None:
    ids = camera_ids(6)
    async with SimulatedCameras(ids, clip=SMALL, cache_dir=clip_folder, seed=3) as cameras:
        all_frames = await asyncio.gather(
            *(recorded(cameras.url(name), tmp_path / f"{name}.mp4", 12) for name in ids)
        )
    phases = {
        frame.captured_ms % 400 for frames in all_frames for frame in [f for f in frames if f.is_key][:1]
    }
    assert len(phases) >= 4


async def test_viewer_starts_with_the_key_frame_if_asked(clip_folder: Path, tmp_path: Path) -> None:
    settings = ClipSettings(width=320, height=180, bitrate_kbit=300, gop_s=4.0, length_s=4.0)
    async with SimulatedCameras(
        ["door"], clip=settings, cache_dir=clip_folder, start_with_key_frame=True
    ) as cameras:
        camera = cameras.camera("door")
        first = await recorded(cameras.url("door"), tmp_path / "1.mp4", 5)
        await wait_for(lambda: camera.next_number > first[0].number + 20)
        again = await recorded(cameras.url("door"), tmp_path / "2.mp4", 40)
    assert first[0].is_key
    assert again[0].is_key
    numbers = [frame.number for frame in again]
    assert numbers == list(range(numbers[0], numbers[0] + 40))
    same = {frame.number: frame for frame in first}
    assert all(same.get(frame.number, frame) == frame for frame in again)


async def test_right_password_opens_and_wrong_one_does_not(cameras: SimulatedCameras, tmp_path: Path) -> None:
    assert len(await recorded(cameras.url_with_login("cam-2"), tmp_path / "a.mp4", 5)) == 5
    wrong = cameras.url("cam-2").replace("rtsp://", "rtsp://viewer:wrong@")
    for url in (wrong, cameras.url("cam-2")):
        with pytest.raises(av.error.HTTPUnauthorizedError):
            await recorded(url, tmp_path / "b.mp4", 5)
    assert LOGIN.password not in cameras.url("cam-2")


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        ("none", b"RTSP/1.0 200"),
        ("refuse-503", b"RTSP/1.0 503"),
        ("refuse-401", b"RTSP/1.0 401"),
        ("stall", b"RTSP/1.0 200"),
    ],
)
async def test_faulty_camera_answers_so(cameras: SimulatedCameras, fault: Fault, answer: bytes) -> None:
    cameras.camera("cam-1").set_fault(fault)
    assert (await ask(cameras.url("cam-1"))).startswith(answer)
    assert (await ask(cameras.url("cam-3"))).startswith(b"RTSP/1.0 200")


async def test_closing_camera_closes(cameras: SimulatedCameras) -> None:
    cameras.camera("cam-1").set_fault("refuse-close")
    with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
        await ask(cameras.url("cam-1"))


async def test_silent_camera_never_answers(cameras: SimulatedCameras) -> None:
    cameras.camera("cam-1").set_fault("silent")
    with pytest.raises(TimeoutError):
        await ask(cameras.url("cam-1"), within_s=1.0)
    cameras.camera("cam-1").set_fault("none")
    assert (await ask(cameras.url("cam-1"))).startswith(b"RTSP/1.0 200")


async def test_stalled_camera_loses_frames_but_keeps_its_viewer(
    cameras: SimulatedCameras, tmp_path: Path
) -> None:
    camera = cameras.camera("cam-1")
    recording = asyncio.create_task(recorded(cameras.url("cam-1"), tmp_path / "a.mp4", 60))
    await wait_for(lambda: bool(camera.viewers) and camera.viewers[0].packets > 20)
    camera.set_fault("stall")
    stalled_at = camera.next_number
    await wait_for(lambda: camera.next_number >= stalled_at + 10)
    goes_on_at = camera.next_number
    camera.set_fault("none")
    (gap,) = find_gaps(await recording, SMALL.fps)["cam-1"]
    assert (gap.after_number, gap.before_number) == (stalled_at - 1, goes_on_at)
    assert gap.seconds == gap.missing_frames / 25


async def test_dropped_viewers_are_gone_and_may_come_back(cameras: SimulatedCameras, tmp_path: Path) -> None:
    camera = cameras.camera("cam-1")
    recording = asyncio.create_task(recorded(cameras.url("cam-1"), tmp_path / "a.mp4", 100_000))
    await wait_for(lambda: bool(camera.viewers) and camera.viewers[0].packets > 20)
    assert camera.drop_viewers() == 1
    assert await asyncio.wait_for(recording, 10)
    assert len(await recorded(cameras.url("cam-1"), tmp_path / "b.mp4", 5)) == 5


async def test_viewer_that_does_not_read_is_dropped(clip_folder: Path) -> None:
    heavy = ClipSettings(width=640, height=360, fps=25, bitrate_kbit=8000, length_s=2.0)
    async with SimulatedCameras(
        ["door"], clip=heavy, cache_dir=clip_folder, viewer_buffer_bytes=100_000
    ) as cameras:
        url, camera = cameras.url("door"), cameras.camera("door")
        reader, writer = await asyncio.open_connection("127.0.0.1", cameras.port, limit=1024)
        await play(reader, writer, url)
        await wait_for(lambda: bool(camera.viewers))
        await wait_for(lambda: not camera.viewers, within_s=30)
        writer.transport.abort()


async def test_nonsense_is_answered_and_the_server_lives(cameras: SimulatedCameras) -> None:
    url = cameras.url("cam-1")
    assert (await ask(url + "-unknown")).startswith(b"RTSP/1.0 404")
    assert (await ask("rtsp://127.0.0.1:" + str(cameras.port) + "/")).startswith(b"RTSP/1.0 404")
    assert (await ask(url, "PLAY")).startswith(b"RTSP/1.0 455")
    assert (await ask(url, "RECORD")).startswith(b"RTSP/1.0 405")
    assert (await ask(url + "/track0", "SETUP")).startswith(b"RTSP/1.0 461")
    assert (await ask(url, "get")).startswith(b"RTSP/1.0 400")
    assert (await ask(url)).startswith(b"RTSP/1.0 200")


async def test_what_cannot_be_simulated_is_one_clear_line(
    cameras: SimulatedCameras, clip_folder: Path
) -> None:
    with pytest.raises(InvalidId):
        SimulatedCameras(["No/Id"])
    with pytest.raises(ConfigurationError, match="twice"):
        SimulatedCameras(["a", "a"])
    with pytest.raises(ConfigurationError, match="fps"):
        SimulatedCameras(["a"], clip=ClipSettings(fps=0))
    taken = SimulatedCameras(["a"], port=cameras.port, clip=SMALL, cache_dir=clip_folder)
    with pytest.raises(ConfigurationError, match=f"{cameras.port}.*choose another port"):
        await taken.start()
    with pytest.raises(ValueError, match="no fault"):
        cameras.camera("cam-1").set_fault("broken")  # type: ignore[arg-type]


async def process_of(*arguments: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "understudy_lab.cameras", *arguments, stdin=pipe, stdout=pipe, stderr=pipe
    )


async def test_process_serves_takes_orders_and_ends_with_its_input(clip_folder: Path, tmp_path: Path) -> None:
    process = await process_of(
        *("--count", "2", "--prefix", "gate", "--width", "320", "--height", "180", "--bitrate", "300"),
        *("--gop", "0.4", "--clip-length", "2", "--cache-dir", str(clip_folder), "--until-stdin-closes"),
        *("--username", "u", "--password", "p"),
    )
    assert process.stdin is not None
    assert process.stdout is not None

    async def order(line: str) -> dict[str, object]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(line.encode() + b"\n")
        return json.loads(await asyncio.wait_for(process.stdout.readline(), 10))

    ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
    assert [camera["id"] for camera in ready["cameras"]] == ["gate-1", "gate-2"]
    url = ready["cameras"][0]["url"]
    assert url == f"rtsp://127.0.0.1:{ready['port']}/gate-1"
    assert len(await recorded(url.replace("rtsp://", "rtsp://u:p@"), tmp_path / "a.mp4", 5)) == 5
    done = await order('{"do": "fault", "camera": "gate-1", "fault": "refuse-503"}')
    assert done["ok"] is True
    assert (await ask(url)).startswith(b"RTSP/1.0 503")
    assert (await order('{"do": "drop"}'))["ok"] is True
    for nonsense in (
        "nonsense",
        "[" * 5000,
        '{"do": "fault", "camera": "x", "fault": "stall"}',
        '{"do": "fly"}',
    ):
        refused = await order(nonsense)
        assert refused["ok"] is False
        assert refused["error"]
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 10) == 0
    assert process.stderr is not None
    assert await process.stderr.read() == b""


VIDEO_S = 5
"""Long enough for five groups of pictures of each camera."""
MBIT_S = 90 * 2


async def test_ninety_cameras_take_less_than_half_a_core(clip_folder: Path) -> None:
    """720p25 with 2 Mbit/s each, one viewer each; CPU time, so that a busy machine does not matter."""
    process = await process_of("--count", "90", "--cache-dir", str(clip_folder), "--until-stdin-closes")
    assert process.stdin is not None
    assert process.stdout is not None

    def cpu_s() -> float:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    received = 0

    async def watch(url: str, port: int) -> None:
        nonlocal received
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await play(reader, writer, url)
            while data := await reader.read(1 << 20):
                received += len(data)
        finally:
            writer.transport.abort()

    ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 60))
    viewers = [asyncio.create_task(watch(camera["url"], ready["port"])) for camera in ready["cameras"]]
    await wait_for(lambda: received > 1_000_000, within_s=30)
    started, cpu_before, enough = time.monotonic(), cpu_s(), received + VIDEO_S * MBIT_S * 1e6 / 8
    # However long a busy machine takes to hand over so much video.
    await wait_for(lambda: received > enough, within_s=60)
    share = (cpu_s() - cpu_before) / VIDEO_S
    print(f"{share:.2f} of a core, {time.monotonic() - started:.1f} s")
    for viewer in viewers:
        viewer.cancel()
    await asyncio.gather(*viewers, return_exceptions=True)
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 10) == 0
    assert share < 0.5


async def test_process_ends_on_sigterm(clip_folder: Path) -> None:
    process = await process_of(
        "--count", "1", "--width", "320", "--height", "180", "--cache-dir", str(clip_folder)
    )
    assert process.stdout is not None
    await asyncio.wait_for(process.stdout.readline(), 30)
    process.send_signal(signal.SIGTERM)
    _, errors = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 0
    assert errors == b""


async def test_process_says_in_one_line_why_it_cannot_start(
    cameras: SimulatedCameras, clip_folder: Path
) -> None:
    for arguments, status in (
        (["--port", str(cameras.port), "--width", "320", "--height", "180"], 1),
        (["--fps", "0"], 1),
        (["--prefix", "a/b"], 1),
        (["--username", "u"], 2),
    ):
        process = await process_of("--cache-dir", str(clip_folder), *arguments)
        _, errors = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == status
        assert errors.startswith(b"understudy cameras: ")
        assert errors.count(b"\n") == 1
