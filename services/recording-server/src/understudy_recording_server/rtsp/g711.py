"""Sound out of RTP: G.711, a byte a sample (RFC 3551, 4.5.14). No I/O."""

from __future__ import annotations

from understudy_recording_server.rtsp.rtp import Unwrapped, payload_bounds
from understudy_recording_server.rtsp.sound import Sound


class G711Frames:
    """Takes a stream's RTP packets in the order of arrival: each is a frame of its own."""

    def __init__(self, payload_type: int, channels: int) -> None:
        self._payload_type = payload_type
        self._channels = channels
        self._clock = Unwrapped()

    def take(self, packet: bytes) -> list[Sound]:
        """The packet's samples; none where it is no packet of this stream."""
        bounds = payload_bounds(packet)
        if bounds is None or packet[1] & 0x7F != self._payload_type:
            return []
        start, end = bounds
        samples = (end - start) // self._channels
        if not samples:
            return []
        timestamp = self._clock.take(int.from_bytes(packet[4:8], "big"))
        return [Sound(packet[start : start + samples * self._channels], timestamp, samples)]
