"""A feed and a recorder that does not know the camera yet, over real sockets."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from understudy_contracts.errors import NotFound
from understudy_recording_server.live_protocol import FRAGMENT, HEADER, INIT, REFUSED
from understudy_recording_server.media.feeds import Begin, Feeds, TooSlow, Video


class Recorder:
    """The recorder's end of the protocol: says what it is told to, to each who asks."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.asked = 0

    def folder_of(self, camera: str, stream: str = "main") -> str | None:
        return "" if camera == "cam-1" else None

    def watch(self, request: object) -> socket.socket:
        ours, theirs = socket.socketpair()
        self.asked += 1
        theirs.sendall(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
        theirs.close()
        ours.setblocking(False)
        return ours


def said(kind: bytes, body: bytes, *, is_key: bool = False) -> bytes:
    return HEADER.pack(kind, is_key, len(body), 7) + body


GOOD = said(INIT, b"head") + said(FRAGMENT, b"key", is_key=True) + said(FRAGMENT, b"next")


async def test_a_camera_that_the_recorder_does_not_know_yet_is_asked_for_again():
    recorder = Recorder(said(REFUSED, b"no such camera"), said(REFUSED, b"no such camera"), GOOD)
    viewer, leave = Feeds(recorder).join("cam-1", "main")
    async with asyncio.timeout(5):
        assert await viewer.next() == Begin(b"head")
        assert await viewer.next() == Video(b"key", is_key=True, at_ms=7)
    assert recorder.asked >= 3
    leave()


async def test_one_that_it_never_knows_is_told_in_the_end():
    viewer, leave = Feeds(Recorder(said(REFUSED, b"no second stream"))).join("cam-1", "sub")
    began = time.monotonic()
    with pytest.raises(NotFound, match="no second stream"):
        async with asyncio.timeout(10):
            await viewer.next()
    assert time.monotonic() - began < 6
    leave()
    with pytest.raises(NotFound):
        Feeds(Recorder(GOOD)).join("cam-2", "main")


async def test_what_a_viewer_has_not_read_is_bounded():
    feeds = Feeds(Recorder(GOOD))
    viewer, leave = feeds.join("cam-1", "main")
    async with asyncio.timeout(5):
        assert await viewer.next() == Begin(b"head")
    slow, leave_too = feeds.join("cam-1", "main")
    for _ in range(40):
        slow.put(Video(bytes(1 << 20), is_key=False, at_ms=7))
    with pytest.raises(TooSlow):
        await slow.next()
    leave()
    leave_too()
    assert feeds.watched == []
