"""The simulated cameras of a demo: one process of their own, joined at random phase."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from understudy_contracts.errors import ConfigurationError
from understudy_lab.cameras import ClipSettings
from understudy_lab.embedded.process import LOOPBACK, last_log_line

from understudy_cli.demo.waiting import DemoFailed
from understudy_cli.processes import ProcessPlan, start_tied

FPS: Final = 25
GOP_S: Final = 1.0
USUAL: Final = ClipSettings(fps=FPS, gop_s=GOP_S)
_READY_WITHIN_S: Final = 60.0
_STOP_WITHIN_S: Final = 5.0
_USERNAME: Final = "camera"
_PASSWORD_VARIABLE: Final = "CAMERAS_PASSWORD"  # noqa: S105 - a name, not a password


class SimulatedCamera(msgspec.Struct, frozen=True):
    id: str
    url: str


class _Ready(msgspec.Struct, frozen=True):
    cameras: list[SimulatedCamera]


@dataclass(frozen=True)
class Cameras:
    """The running simulator. `password` is made up for this run."""

    cameras: list[SimulatedCamera]
    username: str
    password: str
    process: asyncio.subprocess.Process

    def require_running(self) -> None:
        """
        Raises:
            DemoFailed: the simulator has ended; frame numbers of another run cannot be compared with these.
        """
        if self.process.returncode is not None:
            raise DemoFailed(f"the simulated cameras ended with status {self.process.returncode}")


@contextlib.asynccontextmanager
async def simulated_cameras(
    count: int, log: Path, *, host: str = LOOPBACK, clip: ClipSettings = USUAL
) -> AsyncIterator[Cameras]:
    """`count` cameras behind a login, 720p25 with a key frame a second by default, at the address `host`.

    Raises:
        ConfigurationError: they did not start; with the last line of their log.
    """
    password = secrets.token_urlsafe(12)
    plan = ProcessPlan(
        "cameras",
        [
            "-m",
            "understudy_lab.cameras",
            *("--count", str(count), "--host", host, "--fps", str(clip.fps), "--gop", str(clip.gop_s)),
            *("--width", str(clip.width), "--height", str(clip.height), "--bitrate", str(clip.bitrate_kbit)),
            *("--clip-length", str(clip.length_s)),
            *("--seed", str(secrets.randbelow(1 << 31))),
            *("--username", _USERNAME, "--password-env", _PASSWORD_VARIABLE, "--until-stdin-closes"),
        ],
        {_PASSWORD_VARIABLE: password},
    )
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as errors:
        process = await start_tied(
            plan, output=asyncio.subprocess.PIPE, errors=errors, stdin=asyncio.subprocess.PIPE
        )
    try:
        yield Cameras(await _ready(process, log), _USERNAME, password, process)
    finally:
        await _end(process)


async def _ready(process: asyncio.subprocess.Process, log: Path) -> list[SimulatedCamera]:
    assert process.stdout is not None  # noqa: S101 - asked for with PIPE
    line = b""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_READY_WITHIN_S):
            line = await process.stdout.readline()
    try:
        return msgspec.json.decode(line, type=_Ready).cameras
    except msgspec.DecodeError:
        raise ConfigurationError(f"the simulated cameras did not start: {last_log_line(log)}") from None


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_STOP_WITHIN_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
