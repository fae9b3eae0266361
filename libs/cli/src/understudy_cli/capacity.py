"""How many cameras this machine can record: the real recorder on simulated cameras, a few seconds a level.

The estimate is a pure function of what was measured. Recorder and cameras are processes of their own, so that
only the recorder's cost counts.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from understudy_contracts.errors import Unavailable
from understudy_runtime.clock import SystemClock

from understudy_cli.processes import ProcessPlan, start_tied

CAPACITY_FILE = "capacity.json"
LEVELS = (4, 16, 32)
BITRATE_KBIT = 2000
MOST_CAMERAS = 2000
CPU_SHARE = 0.7
"""Of one core: the recorder is one process, and Python runs on one core at a time."""
MEMORY_SHARE = 0.5
DISK_SHARE = 0.5
"""A disk also has to be read: for playback, and for footage that goes home."""
DISK_TEST_BYTES = 64 << 20
PATIENCE_S = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Level:
    """What so many cameras cost: percent of one core, and megabytes of the recorder's own memory (PSS)."""

    cameras: int
    cpu_percent: float
    memory_mb: float


@dataclass(frozen=True)
class Capacity:
    """How many cameras of 720p, 25 frames and 2 Mbit/s a second, and which of the three limits decides."""

    cameras: int
    limited_by: str
    limits: dict[str, int]
    levels: list[Level]
    disk_mb_per_s: float
    measured_at: int


def slope(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The straight line through points (least squares): what the first camera costs anyway, and each more."""
    count = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    each = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
    return mean_y - each * mean_x, each


def estimate(
    levels: Sequence[Level], *, disk_bytes_per_s: float, free_memory_mb: float, now_ms: int
) -> Capacity:
    """Extrapolate to where the first of processor, memory and disk is used up to its share."""
    limits = {
        "processor": _reach([(level.cameras, level.cpu_percent) for level in levels], CPU_SHARE * 100),
        "memory": _reach(
            [(level.cameras, level.memory_mb) for level in levels], MEMORY_SHARE * free_memory_mb
        ),
        "disk": int(DISK_SHARE * disk_bytes_per_s / (BITRATE_KBIT * 1000 / 8)),
    }
    limits = {name: max(0, min(MOST_CAMERAS, limit)) for name, limit in limits.items()}
    decisive = min(limits, key=lambda name: limits[name])
    return Capacity(
        limits[decisive], decisive, limits, list(levels), round(disk_bytes_per_s / 1e6, 1), now_ms
    )


def _reach(points: Sequence[tuple[float, float]], budget: float) -> int:
    base, each = slope(points)
    dearest = max(cost / count for count, cost in points)
    # A line that falls or lies flat is noise: no camera costs next to nothing.
    return int((budget - max(0.0, base)) / max(each, dearest / 20, 1e-6))


async def measure_capacity(
    folder: Path | None, seconds: float, say: Callable[[str], None], levels: Sequence[int] = LEVELS
) -> Capacity:
    """Measure on the disk of `folder` (None: where temporary files lie), and leave the figure there.

    Raises:
        Unavailable: cameras or recorder did not start, or the disk cannot be written; the message says which.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".understudy-capacity-", dir=folder) as scratch:
            disk = await asyncio.to_thread(disk_speed, Path(scratch))
            say(f"the disk writes {disk / 1e6:.0f} MB/s")
            measured = [await _measure(count, seconds, Path(scratch), say) for count in levels]
        capacity = estimate(
            measured,
            disk_bytes_per_s=disk,
            free_memory_mb=free_memory_mb(),
            now_ms=SystemClock().wall_ms(),
        )
        if folder is not None:
            new = folder / f".{CAPACITY_FILE}.new"
            new.write_text(json.dumps(asdict(capacity), indent=2) + "\n", encoding="utf-8")
            new.replace(folder / CAPACITY_FILE)
    except OSError as error:
        raise Unavailable(f"cannot measure on {error.filename or folder}: {error.strerror}") from None
    return capacity


def disk_speed(folder: Path) -> float:
    """Bytes a second that reach the disk."""
    block = os.urandom(1 << 20)
    began = time.monotonic()
    with (folder / "speed").open("wb", buffering=0) as file:
        for _ in range(DISK_TEST_BYTES >> 20):
            file.write(block)
        os.fsync(file.fileno())
    took = time.monotonic() - began
    (folder / "speed").unlink()
    return DISK_TEST_BYTES / max(took, 1e-6)


def free_memory_mb() -> float:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 1024
    return 0.0


async def _measure(count: int, seconds: float, scratch: Path, say: Callable[[str], None]) -> Level:
    with (scratch / f"log-{count}").open("wb") as log:
        cameras = await _start(
            ["-m", "understudy_lab.cameras", "--until-stdin-closes", "--count", str(count)], log
        )
        try:
            ready = await _line(cameras, "the simulated cameras")
            arguments = [
                "-m",
                "understudy_recording_server.recorder",
                "--data-dir",
                str(scratch / str(count)),
            ]
            recorder = await _start(arguments, log)
            try:
                level = await _watch(recorder, ready["cameras"], seconds)
            finally:
                await _end(recorder)
        finally:
            await _end(cameras)
    say(f"{count} cameras: {level.cpu_percent:.0f} % of a core, {level.memory_mb:.0f} MB")
    return level


async def _watch(recorder: asyncio.subprocess.Process, cameras: list[Any], seconds: float) -> Level:
    """Wait until every camera is recorded, then count the recorder's processor time."""
    command = {"kind": "apply", "folder": "", "cameras": cameras, "generation": 1, "segment_s": 10}
    assert recorder.stdin is not None  # noqa: S101 - asked for
    recorder.stdin.write(json.dumps(command).encode() + b"\n")
    waiting = {camera["id"] for camera in cameras}
    while waiting:
        report = await _line(recorder, "the recorder")
        if report["kind"] == "first-key-frame":
            waiting.discard(report["camera"])
    # Its reports must be read on, or it would wait for a reader.
    reading = asyncio.create_task(_read_on(recorder))
    try:
        before, began = _cpu_s(recorder.pid), time.monotonic()
        await asyncio.sleep(seconds)
        used = (_cpu_s(recorder.pid) - before) / (time.monotonic() - began)
        return Level(len(cameras), round(used * 100, 1), round(_memory_mb(recorder.pid), 1))
    finally:
        reading.cancel()
        await asyncio.wait({reading})


async def _start(arguments: list[str], log: IO[bytes]) -> asyncio.subprocess.Process:
    plan = ProcessPlan("capacity", arguments)
    return await start_tied(
        plan, output=asyncio.subprocess.PIPE, errors=log.fileno(), stdin=asyncio.subprocess.PIPE
    )


async def _end(process: asyncio.subprocess.Process) -> None:
    """Closing its standard input ends either process in order."""
    if process.stdin is not None:
        process.stdin.close()
    await _within(process.communicate(), process)
    if process.returncode is None:
        process.kill()
        await process.wait()


async def _within(work: Awaitable[object], process: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            await work
    except (TimeoutError, BrokenPipeError, ConnectionResetError):
        if process.returncode is None:
            process.kill()


async def _line(process: asyncio.subprocess.Process, who: str) -> dict[str, Any]:
    assert process.stdout is not None  # noqa: S101 - asked for
    try:
        async with asyncio.timeout(PATIENCE_S):
            line = await process.stdout.readline()
    except TimeoutError:
        raise Unavailable(f"{who} said nothing for {PATIENCE_S:g} s") from None
    if not line:
        raise Unavailable(f"{who} cannot run here: is understudy-recording-server installed? Run 'uv sync'")
    found: dict[str, Any] = json.loads(line)
    return found


async def _read_on(process: asyncio.subprocess.Process) -> None:
    assert process.stdout is not None  # noqa: S101 - asked for
    while await process.stdout.read(1 << 16):
        pass


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _memory_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0
