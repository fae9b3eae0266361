"""The recorder's door for live video, with a fleet in this process and a real camera."""

from __future__ import annotations

import asyncio
import socket

import msgspec
import pytest
from understudy_footage import FootageRoot
from understudy_recording_server.live_protocol import WatchRequest
from understudy_recording_server.recorder.door import Door
from understudy_recording_server.recorder.fleet import Fleet
from understudy_recording_server.recorder.live import LiveSink
from understudy_recording_server.recorder.protocol import Apply, CameraSpec, Trouble
from understudy_runtime.clock import SystemClock


@pytest.mark.parametrize("part", ["began", "take"])
async def test_a_live_view_that_fails_hangs_up_so_that_it_is_asked_for_again(
    cameras, tmp_path, monkeypatch, part
):
    def fails(*_):
        raise ValueError(part)

    monkeypatch.setattr(LiveSink, "_begin" if part == "began" else "_flush", fails)
    reports = []
    fleet = Fleet(FootageRoot(tmp_path), reports.append, SystemClock(), 60.0)
    asking, door = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    watching, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        Door(door.detach(), fleet).open()
        fleet.apply(Apply("", [CameraSpec("cam-1", cameras.url("cam-1"))], 1))
        request = msgspec.json.encode(WatchRequest("", "cam-1"))
        socket.send_fds(asking, [request], [theirs.fileno()])
        theirs.close()
        reader, writer = await asyncio.open_unix_connection(sock=watching)
        async with asyncio.timeout(20):
            await reader.read()
        writer.close()
        assert [report.camera for report in reports if isinstance(report, Trouble)] == ["cam-1"]
        assert fleet.statuses(measure=False)[0].reconnects == 0
    finally:
        asking.close()
        await asyncio.to_thread(fleet.close)
