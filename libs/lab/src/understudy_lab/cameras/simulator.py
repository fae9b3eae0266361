"""Many simulated cameras behind one RTSP port."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self
from urllib.parse import quote

from understudy_contracts.errors import ConfigurationError
from understudy_contracts.ids import check_id
from understudy_runtime.accepting import close_server

from understudy_lab.cameras.camera import Camera
from understudy_lab.cameras.clip import ClipSettings, load_clip
from understudy_lab.cameras.connection import ViewerConnection
from understudy_lab.cameras.digest import Login
from understudy_lab.cameras.rtp import packetize

_TICK_S = 0.005
"""Frames that are due within this time are sent together: waking up costs more than sending."""
_CATCH_UP_S = 2.0
"""After a longer standstill (a suspended process) cameras go on from now, as if they had stood still too."""

_log = logging.getLogger(__name__)


def camera_ids(count: int, prefix: str = "cam") -> list[str]:
    """`cam-1`, `cam-2` and so on."""
    return [f"{prefix}-{number}" for number in range(1, count + 1)]


class SimulatedCameras:
    """An RTSP server whose path `/<camera id>` is a camera; to be used as an async context manager.

    All cameras loop the same clip, each at a phase of its own (drawn from `seed`), so that key frames do not
    coincide. A viewer that joins gets frames from the next one on, or with `start_with_key_frame` first the
    current group of pictures from its key frame on. A viewer for which more than `viewer_buffer_bytes` would
    have to be kept is dropped. Capture times run evenly from the wall clock as it was at the start.
    """

    def __init__(
        self,
        ids: Sequence[str],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        login: Login | None = None,
        logins: dict[str, Login] | None = None,
        clip: ClipSettings | None = None,
        start_with_key_frame: bool = False,
        viewer_buffer_bytes: int = 8 * 1024 * 1024,
        seed: int = 1,
        cache_dir: Path | None = None,
    ) -> None:
        """`login` is asked for by all cameras, except those that have their own in `logins`.

        Raises ConfigurationError for ids that are none or come twice, and for a clip that cannot be made.
        """
        for camera_id in ids:
            check_id(camera_id, "camera id")
        if len(set(ids)) != len(ids):
            raise ConfigurationError("a camera id is given twice; each camera needs its own")
        self.clip_settings = clip or ClipSettings()
        if refusal := self.clip_settings.refusal():
            raise ConfigurationError(f"such a camera cannot be simulated: {refusal}")
        self.host = host
        self.port = port
        self._ids = list(ids)
        self._login = login
        self._logins = logins or {}
        self._start_with_key_frame = start_with_key_frame
        self._viewer_buffer_bytes = viewer_buffer_bytes
        self._seed = seed
        self._cache_dir = cache_dir
        self._cameras: dict[str, Camera] = {}
        self._server: asyncio.Server | None = None
        self._connections: set[ViewerConnection] = set()
        self._clockwork: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Encode or load the clip, open the port, begin to take frames.

        Raises ConfigurationError if the port cannot be opened.
        """
        # S311: phases need no secrecy, and the same seed must give the same phases.
        chance = random.Random(self._seed)  # noqa: S311
        clip = await asyncio.to_thread(load_clip, self.clip_settings, self._cache_dir)
        packets = packetize(clip)
        self._cameras = {
            camera_id: Camera(
                camera_id,
                packets,
                phase=chance.randrange(len(packets.frames)),
                ssrc=chance.getrandbits(32),
                login=self._logins.get(camera_id, self._login),
                start_with_key_frame=self._start_with_key_frame,
                viewer_buffer_bytes=self._viewer_buffer_bytes,
            )
            for camera_id in self._ids
        }
        offsets = [chance.random() / self.clip_settings.fps for _ in self._ids]
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: ViewerConnection(self._cameras, clip, self._connections),
                self.host,
                self.port,
                backlog=512,  # all viewers come at once when a failover begins
            )
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigurationError(
                f"simulated cameras cannot listen on {self.host}:{self.port}: {reason}; choose another port"
            ) from error
        self.port = self._server.sockets[0].getsockname()[1]
        self._clockwork = asyncio.create_task(self._take_frames(offsets), name="simulated cameras")

    async def stop(self) -> None:
        if self._clockwork is not None:
            self._clockwork.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._clockwork
        if self._server is not None:
            try:
                await close_server(self._server)
            finally:
                for connection in list(self._connections):
                    connection.abort()
            # Their ends are told by the event loop, in its next rounds.
            while self._connections:  # noqa: ASYNC110
                await asyncio.sleep(0)
            await self._server.wait_closed()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def ids(self) -> list[str]:
        return list(self._ids)

    def camera(self, camera_id: str) -> Camera:
        """For faults at run time: `camera("cam-1").set_fault("stall")`. Raises KeyError."""
        return self._cameras[camera_id]

    def url(self, camera_id: str) -> str:
        """The camera's address, without login."""
        return f"rtsp://{self.host}:{self.port}/{camera_id}"

    def url_with_login(self, camera_id: str) -> str:
        """The camera's address as players want it: with user name and password, if it asks for them."""
        login = self._logins.get(camera_id, self._login)
        if login is None:
            return self.url(camera_id)
        words = f"{quote(login.username, safe='')}:{quote(login.password, safe='')}"
        return f"rtsp://{words}@{self.host}:{self.port}/{camera_id}"

    async def _take_frames(self, offsets: list[float]) -> None:
        """Each camera's frames in time, all from one loop."""
        period = 1 / self.clip_settings.fps
        start = time.monotonic()
        utc_at_start = time.time()
        delay = 0.0
        due = [(offset, index) for index, offset in enumerate(offsets)]
        heapq.heapify(due)
        cameras = list(self._cameras.values())
        while due:
            now = time.monotonic() - start - delay
            if now - due[0][0] > _CATCH_UP_S:
                _log.warning("the simulated cameras stood still for %.1f s", now - due[0][0])
                delay += now - due[0][0]
                now = due[0][0]
            while due[0][0] <= now:
                at, index = due[0]
                # Computed from the frame's number, so that rounding errors do not add up.
                camera = cameras[index]
                camera.take_frame(utc_at_start + delay + at)
                heapq.heapreplace(due, (offsets[index] + camera.next_number * period, index))
            wait = due[0][0] - (time.monotonic() - start - delay)
            await asyncio.sleep(max(wait, _TICK_S))
