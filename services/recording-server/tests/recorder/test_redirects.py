"""Cameras that send us elsewhere: nobody else hears from us."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from understudy_lab.listening import listening


class Server:
    """Speaks just enough RTSP to answer one kind of request with a redirect, and notes what it is asked."""

    def __init__(self, redirects: str = "", location: str = "") -> None:
        self.asked: list[str] = []
        self.port = 0
        self._redirects = redirects
        self._location = location

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = (await reader.readuntil(b"\r\n\r\n")).decode()
                method = request.split()[0]
                self.asked.append(method)
                sequence = next(line for line in request.split("\r\n") if line.lower().startswith("cseq"))
                writer.write(self._answer(method, sequence).encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _answer(self, method: str, sequence: str) -> str:
        if method == self._redirects:
            return f"RTSP/1.0 302 Moved\r\n{sequence}\r\nLocation: {self._location}\r\n\r\n"
        return f"RTSP/1.0 200 OK\r\n{sequence}\r\nPublic: DESCRIBE, SETUP, PLAY\r\n\r\n"


@asynccontextmanager
async def _serving(server: Server) -> AsyncIterator[Server]:
    async with listening(server.serve) as server.port:
        yield server


@pytest.mark.parametrize("method", ["OPTIONS", "DESCRIBE"])
@pytest.mark.parametrize(
    "location",
    [
        "rtsp://127.0.0.1:{inner}/secret",
        "rtsp://user:pw@127.0.0.1:{inner}/secret",
        "http://127.0.0.1:{inner}/latest/meta-data",
        "rtsp://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "concat:/etc/passwd",
        "",
    ],
)
async def test_a_redirect_is_not_followed(start_recorder, cameras, spec, method: str, location: str) -> None:
    async with (
        _serving(Server()) as inner,
        _serving(Server(method, location.format(inner=inner.port))) as hostile,
    ):
        recorder = await start_recorder()
        await recorder.apply([{"id": "evil", "url": f"rtsp://127.0.0.1:{hostile.port}/x"}, spec("cam-1")])
        [refused] = await recorder.until(
            lambda report: report["kind"] == "camera" and report["camera"] == "evil" and report["reason"]
        )
        assert "no other address is followed" in refused["reason"]
        assert refused["state"] == "refused"
        await recorder.hears("first-key-frame", camera="cam-1")
        assert method in hostile.asked
        assert inner.asked == []
        await recorder.kill()


async def test_the_test_would_notice_a_request(start_recorder) -> None:
    async with _serving(Server()) as inner:
        recorder = await start_recorder()
        await recorder.apply([{"id": "one", "url": f"rtsp://127.0.0.1:{inner.port}/x"}])
        await recorder.until(lambda report: report["kind"] == "camera" and report["reason"] != "")
        assert "DESCRIBE" in inner.asked
        await recorder.kill()
