"""A recorder as its agent runs it: a real process, real pipes, real cameras."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
from understudy_lab.cameras import ClipSettings, SimulatedCameras

PATIENCE_S = 60.0
SMALL = ClipSettings(width=160, height=120, bitrate_kbit=200, gop_s=0.4, length_s=2.0)


class RunningRecorder:
    """Sends commands, gathers reports, and waits for those that a test names."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.reports: list[dict] = []
        self.said = b""
        self.complained = b""
        self._news = asyncio.Condition()
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._hear_complaints())]

    async def send(self, **command: object) -> None:
        await self.send_line(msgspec.json.encode(command) + b"\n")

    async def send_line(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        await self.process.stdin.drain()

    async def apply(self, cameras: list[dict], folder: str = "", generation: int = 1, **more: object) -> None:
        await self.send(kind="apply", folder=folder, cameras=cameras, generation=generation, **more)

    async def until(self, wanted: Callable[[dict], bool], count: int = 1, since: int = 0) -> list[dict]:
        """The first `count` reports for which `wanted` holds, from the one numbered `since` on."""

        def found() -> list[dict]:
            return [report for report in self.reports[since:] if wanted(report)]

        async def wait() -> None:
            async with self._news:
                await self._news.wait_for(lambda: len(found()) >= count)

        try:
            await asyncio.wait_for(wait(), PATIENCE_S)
        except TimeoutError:
            told = [report for report in self.reports if report["kind"] != "status"]
            pytest.fail(f"not reported within {PATIENCE_S} s; told: {told[-20:]} {self.complained!r}")
        return found()[:count]

    def told(self, kind: str, **fields: object) -> list[dict]:
        return [report for report in self.reports if matches(report, kind, fields)]

    async def hears(self, kind: str, count: int = 1, since: int = 0, **fields: object) -> list[dict]:
        return await self.until(lambda report: matches(report, kind, fields), count, since)

    async def ends(self) -> int:
        """Wait for its end; then everything it said has been read."""
        status = await asyncio.wait_for(self.process.wait(), PATIENCE_S)
        await asyncio.wait_for(asyncio.gather(*self._tasks), PATIENCE_S)
        return status

    async def shut_down(self) -> None:
        await self.send(kind="shutdown")
        assert await self.ends() == 0

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
        await self.ends()

    async def _listen(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.said += line
            async with self._news:
                self.reports.append(msgspec.json.decode(line))
                self._news.notify_all()

    async def _hear_complaints(self) -> None:
        assert self.process.stderr is not None
        self.complained = await self.process.stderr.read()


def matches(report: dict, kind: str, fields: dict[str, object]) -> bool:
    return report["kind"] == kind and all(report.get(name) == value for name, value in fields.items())


StartRecorder = Callable[..., "asyncio.Future[RunningRecorder]"]


async def spawn(data: Path, *arguments: str) -> RunningRecorder:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "understudy_recording_server.recorder", "--data-dir", str(data), *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        limit=1 << 24, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    return RunningRecorder(process)


@pytest.fixture
async def start_recorder(tmp_path: Path) -> AsyncIterator[Callable]:
    """Starts recorders on this test's data folder and waits until they are ready."""
    running: list[RunningRecorder] = []

    async def start(*arguments: str, data: Path = tmp_path / "data") -> RunningRecorder:
        recorder = await spawn(data, *arguments)
        running.append(recorder)
        await recorder.hears("ready")
        return recorder

    yield start
    for recorder in running:
        await recorder.kill()


@pytest.fixture
async def cameras(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SimulatedCameras]:
    """Three cameras, 25 frames a second, a key frame every 0.4 s."""
    cache = tmp_path_factory.getbasetemp() / "clips"
    async with SimulatedCameras(["cam-1", "cam-2", "cam-3"], clip=SMALL, cache_dir=cache) as running:
        yield running


@pytest.fixture
def spec(cameras: SimulatedCameras) -> Callable[..., dict]:
    """What to record of a simulated camera."""

    def of(camera: str, **more: object) -> dict:
        return {"id": camera, "url": cameras.url(camera), **more}

    return of
