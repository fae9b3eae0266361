"""Live video of one camera while somebody watches: a muxer of its own, from the last key frame on."""

from __future__ import annotations

import contextlib
import struct
from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import av

from understudy_recording_server.live_protocol import FRAGMENT, INIT, PAUSE
from understudy_recording_server.recorder.frames import Frame, Streams
from understudy_recording_server.recorder.recent import Recent
from understudy_recording_server.recorder.segments import MOVFLAGS

Send = Callable[[bytes, bool, int, bytes], None]
"""Takes what it is, whether it is a key frame, the time of arrival in UTC ms, and the body. Never blocks."""

_BUFFER_BYTES = 1 << 18
_BOX = struct.Struct(">I4s")


class _Written:
    """What the muxer writes, as PyAV wants it; not seekable."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.name = "live"

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)

    def take_boxes(self) -> list[tuple[bytes, bytes]]:
        """The whole boxes that have been written since the last call: kind and bytes."""
        boxes, start = [], 0
        while len(self.data) - start >= _BOX.size:
            size, kind = _BOX.unpack_from(self.data, start)
            if size < _BOX.size or len(self.data) - start < size:
                break
            boxes.append((kind, bytes(self.data[start : start + size])))
            start += size
        del self.data[:start]
        return boxes


class LiveSink:
    """A sink that muxes frames and sends them. Video only: a page that plays sound unasked is no use."""

    def __init__(self, send: Send, recent: Recent | None, failed: Callable[[], None]) -> None:
        """`recent`: what the camera sent since its last key frame, so that a viewer need not wait for one.
        `failed` is called when it fails, after which it gets no more frames."""
        self._send = send
        self._failed = failed
        self._recent = recent
        self._container: Any = None
        self._stream: Any = None
        self._time_base = Fraction(1, 90_000)
        self._written = _Written()
        self._under_way: deque[tuple[bool, int]] = deque()
        self._first_dts: int | None = None
        self._last_dts = 0
        self._nominal = 0
        self._head = b""

    def began(self, streams: Streams) -> None:
        with self._telling_failure():
            self._begin(streams)

    def take(self, frame: Frame) -> None:
        with self._telling_failure():
            self._take(frame)

    @contextlib.contextmanager
    def _telling_failure(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            self._failed()
            raise  # Whoever hands out frames tells of it.

    def _begin(self, streams: Streams) -> None:
        self._close()
        self._written = _Written()
        self._container = av.open(
            self._written,
            "w",
            format="mp4",
            options={"movflags": MOVFLAGS, "flush_packets": "1"},
            buffer_size=_BUFFER_BYTES,
        )
        self._stream = streams.add_video(self._container)
        self._container.start_encoding()
        self._time_base = streams.video.time_base or self._time_base
        self._first_dts, self._nominal = None, round(0.04 / streams.video_tick_s)
        self._head = b"".join(box for _, box in self._written.take_boxes())
        self._send(INIT, False, 0, self._head)
        if self._recent is not None:
            for frame in self._recent.last_group():
                self._take(frame)

    def _take(self, frame: Frame) -> None:
        if self._container is None or not frame.is_video:
            return
        if self._first_dts is None:
            if not frame.is_key:
                return
            self._first_dts = self._last_dts = frame.dts
        elif frame.dts > self._last_dts:
            self._nominal, self._last_dts = frame.dts - self._last_dts, frame.dts
        packet = frame.packet
        packet.time_base = self._time_base  # Another muxer may have counted in ticks of its own.
        packet.dts, packet.pts = frame.dts - self._first_dts, frame.pts - self._first_dts
        packet.duration = packet.duration or self._nominal
        packet.stream = self._stream
        self._under_way.append((frame.is_key, frame.arrival_ms))
        self._container.mux_one(packet)
        self._flush()

    def ended(self) -> None:
        self._close()
        self._send(PAUSE, False, 0, b"")

    def _flush(self) -> None:
        """Send the fragments that are whole. The muxer writes a frame when the next tells its duration."""
        moof = b""
        for kind, box in self._written.take_boxes():
            if kind == b"moof":
                moof = box
            elif kind == b"mdat" and moof and self._under_way:
                is_key, arrival_ms = self._under_way.popleft()
                self._send(FRAGMENT, is_key, arrival_ms, moof + box)

    def _close(self) -> None:
        container, self._container = self._container, None
        self._under_way.clear()
        if container is not None:
            container.close()
