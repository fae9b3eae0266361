"""Sound out of RTP: AAC as `mpeg4-generic` (RFC 3640). No I/O."""

from __future__ import annotations

from collections.abc import Mapping

from understudy_recording_server.rtsp.access_units import Unsuited
from understudy_recording_server.rtsp.rtp import Unwrapped, payload_bounds
from understudy_recording_server.rtsp.sound import Sound

USUAL_SAMPLES = 1024
"""Of a frame of AAC-LC, at one tick a sample."""
_LARGEST_FRAME_BYTES = 1 << 16
_MARKER = 0x80


class AacFrames:
    """Takes a stream's RTP packets in the order of arrival, gives whole frames."""

    def __init__(self, payload_type: int, parameters: Mapping[str, str]) -> None:
        """`parameters`: those of `fmtp`, by names in lower case.

        Raises:
            Unsuited: its headers have another shape than those that cameras send.
        """
        sizes = [parameters.get(name, "0") for name in ("sizelength", "indexlength", "indexdeltalength")]
        try:
            self._size_bits, index_bits, delta_bits = (int(size) for size in sizes)
        except ValueError:
            raise Unsuited("the sound's description makes no sense") from None
        self._header_bits = self._size_bits + index_bits
        other = any(parameters.get(name, "0") != "0" for name in _FURTHER_FIELDS)
        shaped = self._header_bits in {8, 16} and 1 <= self._size_bits <= self._header_bits
        if not shaped or index_bits != delta_bits or other:
            raise Unsuited("sound with headers of this shape is not read")
        self._payload_type = payload_type
        self._clock = Unwrapped()
        self._expected = -1
        self._before: tuple[int, int] | None = None
        self._samples = USUAL_SAMPLES
        self._begun = b""
        self._whole_size = 0

    def take(self, packet: bytes) -> list[Sound]:
        """The frames that are whole with this packet. Broken ones are left out."""
        bounds = payload_bounds(packet)
        if bounds is None or packet[1] & 0x7F != self._payload_type:
            return []
        start, end = bounds
        sequence = packet[2] << 8 | packet[3]
        if sequence != self._expected:
            self._begun = b""
            self._before = None
        self._expected = (sequence + 1) & 0xFFFF
        header_bits = packet[start] << 8 | packet[start + 1] if end - start > 2 else 0
        count = header_bits // self._header_bits
        at = start + 2 + (header_bits + 7) // 8
        if not count or at >= end:
            return []
        timestamp = self._clock.take(int.from_bytes(packet[4:8], "big"))
        width = self._header_bits // 8
        sizes = [
            int.from_bytes(packet[start + 2 + width * number : start + 2 + width * (number + 1)], "big")
            >> (self._header_bits - self._size_bits)
            for number in range(count)
        ]
        if count == 1 and (self._begun or sizes[0] > end - at):
            self._before = None
            return self._fragment(packet[at:end], sizes[0], timestamp, ended=bool(packet[1] & _MARKER))
        self._learn(timestamp, count)
        found: list[Sound] = []
        for number, size in enumerate(sizes):
            if not size or at + size > end:
                break
            moment = timestamp + number * self._samples
            found.append(Sound(packet[at : at + size], moment, self._samples))
            at += size
        return found

    def _fragment(self, part: bytes, size: int, timestamp: int, *, ended: bool) -> list[Sound]:
        if not self._begun:
            self._whole_size = size
        self._begun += part
        if len(self._begun) > _LARGEST_FRAME_BYTES:
            self._begun = b""
        if not ended:
            return []
        whole, self._begun = self._begun, b""
        return [Sound(whole, timestamp, self._samples)] if len(whole) == self._whole_size else []

    def _learn(self, timestamp: int, count: int) -> None:
        """How long a frame is: AAC-LC has 1,024 samples, others 960, 512 or 2,048. Only from a packet and
        the very next one: over a gap, 1,024 look like 2,048."""
        if self._before is not None:
            then, frames = self._before
            samples, rest = divmod(timestamp - then, frames)
            if not rest and samples in _POSSIBLE_SAMPLES:
                self._samples = samples
        self._before = timestamp, count


_FURTHER_FIELDS = (
    "ctsdeltalength",
    "dtsdeltalength",
    "randomaccessindication",
    "streamstateindication",
    "auxiliarydatasizelength",
)
_POSSIBLE_SAMPLES = frozenset({480, 512, 960, 1024, 1920, 2048})
