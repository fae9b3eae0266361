"""Runs the server as a process, and knows what its cameras can be made of."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

SYSTEM_PYTHON = "/usr/bin/python3"
PACKAGES = (
    "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-rtsp gstreamer1.0-plugins-base "
    "gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly"
)
_SERVER = Path(__file__).with_name("server.py")
_CHECK = """
import gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
elements = "x264enc x265enc voaacenc mulawenc rtph265pay rtpmp4gpay"
assert all(Gst.ElementFactory.find(name) for name in elements.split())
"""

H264 = "x264enc speed-preset=ultrafast tune=zerolatency key-int-max=10 bitrate=300"
SLICES = H264 + " option-string=slices=4"
H265 = "x265enc speed-preset=ultrafast tune=zerolatency key-int-max=10 bitrate=300"
AAC = "audiotestsrc is-live=true ! voaacenc ! rtpmp4gpay name=pay1 pt=97"
G711 = "audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 ! mulawenc ! rtppcmupay name=pay1 pt=0"


def camera(encoder: str, sound: str = "") -> str:
    """25 frames a second of 320x240, changeable at `size`, and held up at `valve`. Parameter sets are
    repeated before each slice of a key frame, which FFmpeg takes for beginnings of frames."""
    codec = "h265" if encoder.startswith("x265") else "h264"
    return (
        "( videotestsrc is-live=true pattern=ball ! video/x-raw,framerate=25/1 ! videoscale "
        "! capsfilter name=size caps=video/x-raw,width=320,height=240 ! valve name=valve "
        f"! {encoder} ! rtp{codec}pay name=pay0 pt=96 config-interval=-1 {sound} )"
    )


def missing() -> bool:
    """Whether the server or an encoder that we use is not installed."""
    try:
        ran = subprocess.run([SYSTEM_PYTHON, "-c", _CHECK], capture_output=True, timeout=60, check=False)
    except OSError:
        return True
    return ran.returncode != 0


class GStreamerCameras:
    """A server process with the mounts given as gst-launch lines."""

    def __init__(
        self, mounts: Mapping[str, str], login: tuple[str, str] | None = None, port: int = 0
    ) -> None:
        self._options: dict[str, object] = {"mounts": {f"/{name}": line for name, line in mounts.items()}}
        if login is not None:
            self._options["login"] = login
        self.port = port
        self._process: asyncio.subprocess.Process | None = None

    def url(self, name: str) -> str:
        return f"rtsp://127.0.0.1:{self.port}/{name}"

    async def start(self) -> None:
        """Start; after a `stop` again on the same port."""
        options = json.dumps({**self._options, "port": self.port})
        self._process = await asyncio.create_subprocess_exec(
            SYSTEM_PYTHON, str(_SERVER), options, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.port = (await self._answer())["port"]

    async def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            await process.wait()

    async def set(self, name: str, element: str, key: str, value: str) -> None:
        """Change a property of a running camera."""
        command = {"do": "set", "mount": f"/{name}", "element": element, "property": key, "value": value}
        if await self._obeys(command) != "done":
            raise RuntimeError(f"{name} is not running")

    async def drop(self) -> None:
        """Close every client's connection at once."""
        await self._obeys({"do": "drop"})

    async def _obeys(self, command: dict[str, str]) -> object:
        if self._process is None or self._process.stdin is None:
            raise RuntimeError("start it first")
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        return await self._answer()

    async def _answer(self) -> Any:
        if self._process is None or self._process.stdout is None:
            raise RuntimeError("start it first")
        async with asyncio.timeout(20):
            return json.loads(await self._process.stdout.readline())

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
