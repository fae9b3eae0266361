"""What recording costs, beside one ffmpeg process a camera with the same muxer and probe options.

    uv run benchmarks/recorder.py [--cameras 90] [--seconds 20] [--runs 3] [--alone] [--json]

Cameras come from GStreamer's RTSP server where it is installed (each begins with a key frame when it is
opened), else from the lab (random phase). In each run recorder and ffmpeg record the same cameras, one after
the other, in turn first. The last line of output is one JSON object (interfaces.md, Benchmarks); figures are
medians of the runs. Memory is PSS, at the end; processor time is measured from the last camera's first key
frame on, in percent of one core. A run of two minutes or more also tells by how much the recorder's memory
grew a minute (`--seconds 600 --runs 1 --alone`: without ffmpeg).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from understudy_footage import FootageRoot, recordings_of
from understudy_footage.fragments import whole_part
from understudy_lab.cameras import ClipSettings
from understudy_lab.frames import read_frames
from understudy_lab.gstreamer import PACKAGES, GStreamerCameras, missing, served, write_clip
from understudy_recording_server.recorder.protocol import (
    Apply,
    CameraSpec,
    FirstKeyFrame,
    Shutdown,
    decode_report,
    encode,
)
from understudy_recording_server.recorder.segments import MUXER
from understudy_recording_server.recorder.sources.ffmpeg import SHORT_PROBE_BYTES
from understudy_recording_server.recorder.sources.problems import SOCKET_TIMEOUT_S

PATIENCE_S = 120.0
POLL_S = 0.02
CLIP = ClipSettings()
MINUTE_S = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """Seconds to the first and the last camera's first key frame on disk; percent of a core; megabytes at the
    end of each minute, and at the end."""

    first_s: float
    last_s: float
    cpu_percent: float
    memories_mb: list[float]
    frames_lost: int

    @property
    def memory_mb(self) -> float:
        return self.memories_mb[-1]

    @property
    def growth_mb_per_minute(self) -> float | None:
        """From the end of the first minute on; None in a short run."""
        later = self.memories_mb
        return (later[-1] - later[0]) / (len(later) - 1) if len(later) > 1 else None


@contextlib.asynccontextmanager
async def gstreamer(count: int, seconds: float, folder: Path) -> AsyncIterator[list[str]]:
    clip = folder / "clip.mp4"
    await asyncio.to_thread(write_clip, clip, seconds, CLIP)
    names = [f"cam-{number}" for number in range(1, count + 1)]
    async with GStreamerCameras(dict.fromkeys(names, served(clip))) as cameras:
        yield [cameras.url(name) for name in names]


@contextlib.asynccontextmanager
async def lab(count: int) -> AsyncIterator[list[str]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "understudy_lab.cameras", "--count", str(count), "--until-stdin-closes",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=1 << 20,
    )  # fmt: skip
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("no pipes")
    said = json.loads(await process.stdout.readline())
    try:
        yield [camera["url"] for camera in said["cameras"]]
    finally:
        process.stdin.close()
        await process.wait()


def cameras_of(
    source: str, count: int, seconds: float, folder: Path
) -> contextlib.AbstractAsyncContextManager[list[str]]:
    """Cameras that send for so many seconds after the slowest start."""
    return lab(count) if source == "lab" else gstreamer(count, seconds + PATIENCE_S / 2, folder)


def cpu_s(pids: Sequence[int]) -> float:
    """Processor time that these processes have used so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS


def pss_mb(pids: Sequence[int]) -> float:
    """Their memory, what they share divided among them."""
    found = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                found += int(line.split()[1])
    return found / 1024


async def steady(pids: Sequence[int], seconds: float) -> tuple[float, list[float]]:
    """Percent of a core during the next seconds, and memory at the end of each minute, or at their end."""
    before, began = cpu_s(pids), time.monotonic()
    memories: list[float] = []
    for _ in range(max(1, int(seconds / MINUTE_S))):
        await asyncio.sleep(min(seconds, MINUTE_S))
        memories.append(pss_mb(pids))
    await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))
    return (cpu_s(pids) - before) / (time.monotonic() - began) * 100, memories


async def record(urls: Sequence[str], folder: Path) -> tuple[asyncio.subprocess.Process, float, list[float]]:
    """A recorder of these cameras, all of which record: when it was told to, in UTC milliseconds, and each
    camera's first key frame on disk, in seconds after that."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "understudy_recording_server.recorder", "--data-dir", str(folder),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=1 << 24,
    )  # fmt: skip
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("no pipes")
    await process.stdout.readline()
    specs = [CameraSpec(f"cam-{number}", url) for number, url in enumerate(urls, 1)]
    began_ms = time.time() * 1000
    process.stdin.write(encode(Apply("", specs, 1)))
    keys: list[float] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(keys) < len(urls):
            report = decode_report(await process.stdout.readline())
            if isinstance(report, FirstKeyFrame):
                keys.append((report.at_ms - began_ms) / 1000)
    return process, began_ms, keys


async def run_recorder(urls: list[str], seconds: float, folder: Path) -> Cost:
    process, _, keys = await record(urls, folder)
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("no pipes")
    reading = asyncio.create_task(read_on(process.stdout))
    cpu, memory = await steady([process.pid], seconds)
    process.stdin.write(encode(Shutdown()))
    await process.wait()
    await reading
    index = recordings_of(FootageRoot(folder))
    lost = sum(_lost([folder / found.path.path for found in group]) for group in index.values())
    return Cost(min(keys), max(keys), cpu, memory, lost + (len(urls) - len(index)))


async def read_on(stream: asyncio.StreamReader) -> None:
    while await stream.readline():
        pass


def _lost(files: Sequence[Path]) -> int:
    """Frames that are missing between the first and the last, by the numbers in them."""
    numbers = [frame.number for file in files for frame in read_frames(file)]
    return len(set(range(numbers[0], numbers[-1] + 1)) - set(numbers)) if numbers else 0


async def run_ffmpeg(urls: list[str], seconds: float, folder: Path) -> Cost:
    files = [folder / f"{number}.mp4" for number in range(len(urls))]
    options = [part for name, value in MUXER.items() for part in (f"-{name}", value)]
    began = time.monotonic()
    processes = [
        await asyncio.create_subprocess_exec(
            "ffmpeg", "-nostdin", "-v", "error", "-rtsp_transport", "tcp", "-allowed_media_types", "video",
            "-analyzeduration", "1", "-probesize", str(SHORT_PROBE_BYTES),
            "-timeout", str(int(SOCKET_TIMEOUT_S * 1_000_000)), "-i", url,
            "-map", "0:v", "-c", "copy", *options, "-f", "mp4", str(file),
        )
        for url, file in zip(urls, files, strict=True)
    ]  # fmt: skip
    try:
        keys: list[float] = []
        waiting = set(files)
        async with asyncio.timeout(PATIENCE_S):
            while waiting:
                await asyncio.sleep(POLL_S)
                for file in [file for file in waiting if _has_frame(file)]:
                    waiting.remove(file)
                    keys.append(time.monotonic() - began)
        cpu, memory = await steady([process.pid for process in processes], seconds)
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        for process in processes:
            await process.wait()
    return Cost(min(keys), max(keys), cpu, memory, sum(_lost([file]) for file in files))


def _has_frame(file: Path) -> bool:
    try:
        # A header alone is smaller than any key frame.
        return file.stat().st_size > 4096 and whole_part(file.read_bytes()) is not None
    except FileNotFoundError:
        return False


async def measure(options: argparse.Namespace, folder: Path) -> tuple[str, list[Cost], list[Cost]]:
    source = "lab" if missing() else "gstreamer"
    if source == "lab":
        print(f"recorder: GStreamer's RTSP server is missing: apt-get install {PACKAGES}", file=sys.stderr)
    peers: list[Callable[[list[str], float, Path], asyncio.Future[Cost]]] = [run_recorder]  # type: ignore[list-item]
    if options.alone:
        pass
    elif shutil.which("ffmpeg") is None:
        print("recorder: ffmpeg is missing: apt-get install ffmpeg", file=sys.stderr)
    else:
        peers.append(run_ffmpeg)  # type: ignore[arg-type]
    costs: dict[object, list[Cost]] = {run_recorder: [], run_ffmpeg: []}
    async with cameras_of(source, options.cameras, options.seconds, folder) as urls:
        for number in range(options.runs):
            for peer in peers if number % 2 == 0 else reversed(peers):
                place = folder / f"{number}-{len(costs[peer])}-{peer is run_ffmpeg}"
                place.mkdir()
                cost = await peer(urls, options.seconds, place)
                costs[peer].append(cost)
                shutil.rmtree(place)
                if not options.json:
                    name = "recorder" if peer is run_recorder else "ffmpeg"
                    if len(cost.memories_mb) > 1:
                        print("MB each minute:", *(f"{memory:.0f}" for memory in cost.memories_mb))
                    print(
                        f"run {number + 1} {name:9} last key frame {cost.last_s:5.2f} s, "
                        f"{cost.cpu_percent:5.1f} % of a core, {cost.memory_mb:6.0f} MB, "
                        f"{cost.frames_lost} frames lost"
                    )
    return source, costs[run_recorder], costs[run_ffmpeg]


def summary(cameras: int, source: str, ours: list[Cost], theirs: list[Cost]) -> dict[str, object]:
    def median(of: Callable[[Cost], float], costs: list[Cost]) -> float:
        return round(statistics.median(of(cost) for cost in costs), 2)

    ffmpeg = ratio = None
    if theirs:
        ffmpeg = {
            "last_key_frame_s": median(lambda cost: cost.last_s, theirs),
            "cpu_percent": median(lambda cost: cost.cpu_percent, theirs),
            "memory_mb": median(lambda cost: cost.memory_mb, theirs),
        }
        pairs = zip(ours, theirs, strict=True)
        ratio = round(statistics.median(our.cpu_percent / their.cpu_percent for our, their in pairs), 3)
    growths = [cost.growth_mb_per_minute for cost in ours if cost.growth_mb_per_minute is not None]
    growth = statistics.median(growths) if growths else None
    return {
        "cameras": cameras,
        "gop_s": CLIP.gop_s,
        "first_key_frame_s": median(lambda cost: cost.first_s, ours),
        "last_key_frame_s": median(lambda cost: cost.last_s, ours),
        "cpu_percent": median(lambda cost: cost.cpu_percent, ours),
        "memory_mb": median(lambda cost: cost.memory_mb, ours),
        "memory_growth_mb_per_minute": None if growth is None else round(growth, 2),
        "frames_lost": sum(cost.frames_lost for cost in ours),
        "source": source,
        "ffmpeg": ffmpeg,
        "cpu_ratio_median": ratio,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cameras", type=int, default=90)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--alone", action="store_true", help="without ffmpeg beside it")
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    options = parser.parse_args()
    if options.cameras < 1 or options.runs < 1 or options.seconds <= 0:
        parser.error("cameras, runs and seconds must be more than 0")
    with tempfile.TemporaryDirectory(prefix="bench-recorder-") as folder:
        source, ours, theirs = asyncio.run(measure(options, Path(folder)))
    print(msgspec.json.encode(summary(options.cameras, source, ours, theirs)).decode())


if __name__ == "__main__":
    main()
