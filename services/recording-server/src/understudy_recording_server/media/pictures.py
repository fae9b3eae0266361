"""JPEG pictures out of key frames, made by a process of its own (jpeg_worker.py)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys

import structlog
from understudy_contracts.errors import Unavailable
from understudy_runtime.configuration import PREFIX

from understudy_recording_server.media.jpeg_worker import ANSWER, LENGTH

PATIENCE_S = 10.0
LARGEST_PICTURE = 64 << 20

log = structlog.get_logger()


class Pictures:
    """One worker, started when it is first needed, and anew when it has fallen or hangs."""

    def __init__(self) -> None:
        self._worker: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def jpeg(self, mp4: bytes) -> bytes:
        """The picture of an MP4 that holds one key frame.

        Raises:
            Unavailable: it cannot be decoded.
        """
        async with self._turn:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    return await self._ask(await self._running(), mp4)
            except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
                log.warning("no picture", error=type(error).__name__)
                await self._end()
                raise Unavailable("the picture cannot be decoded") from None
            except asyncio.CancelledError:
                await self._end()  # It is in the middle of an answer.
                raise

    async def close(self) -> None:
        await self._end()

    async def _ask(self, worker: asyncio.subprocess.Process, mp4: bytes) -> bytes:
        assert worker.stdin is not None  # noqa: S101 - asked for below
        assert worker.stdout is not None  # noqa: S101
        worker.stdin.write(LENGTH.pack(len(mp4)) + mp4)
        await worker.stdin.drain()
        failed, length = ANSWER.unpack(await worker.stdout.readexactly(ANSWER.size))
        if length > LARGEST_PICTURE:
            raise OSError
        body = await worker.stdout.readexactly(length)
        if failed:
            raise Unavailable(f"the picture cannot be decoded: {body.decode('utf-8', 'replace')[:200]}")
        return body

    async def _running(self) -> asyncio.subprocess.Process:
        if self._worker is None or self._worker.returncode is not None:
            environment = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
            self._worker = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "understudy_recording_server.media.jpeg_worker",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                env=environment, start_new_session=True,
            )  # fmt: skip
        return self._worker

    async def _end(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            assert worker.stdout is not None  # noqa: S101 - asked for above
            if worker.returncode is None:
                worker.kill()
            # Python 3.11 waits for the end of what it said too, and never hears of it if much is unread.
            with contextlib.suppress(RuntimeError):  # somebody reads it
                await worker.stdout.read()
            await worker.wait()
