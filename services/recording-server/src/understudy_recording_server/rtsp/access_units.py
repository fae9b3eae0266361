"""From RTP payloads to whole frames, with start codes: H.264 (RFC 6184) and H.265 (RFC 7798). No I/O."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from understudy_recording_server.rtsp.rtp import HEADER_BYTES, Unwrapped, is_empty, payload_bounds

LARGEST_FRAME_BYTES = 16 << 20
_PART_BYTES = 64
"""What each part of a frame takes in memory, besides what is in it: there may be millions of empty ones."""
START_CODE = b"\x00\x00\x00\x01"
_MARKER = 0x80
_PLAIN = 0x80
_BEGINS, _ENDS = 0x80, 0x40
"""A fragmented unit: in the byte that tells its type. The bit for its end is not needed, nor always set."""
_FIRST_SLICE = 0x80
"""In the byte behind a slice's header: `first_mb_in_slice` is 0 (H.264, 7.3.3), and
`first_slice_segment_in_pic_flag` is set (H.265, 7.3.6.1)."""


_RECOVERY_POINT = 6
_MOST_UNKNOWN = 20


class Unsuited(Exception):
    """A way of sending that is not read here."""


class FrameTooLarge(Exception):
    """A frame that goes on and on."""


class AccessUnit(msgspec.Struct, gc=False):
    """A whole frame."""

    data: bytes
    is_key: bool
    timestamp: int
    """In ticks of the stream's clock; does not wrap."""


class _Codec(msgspec.Struct, frozen=True):
    """How a codec's units show in RTP. Types are those of the units; `header` is the size of a unit's own."""

    shift: int
    mask: int
    header: int
    aggregate: int
    fragment: int
    pictures: range
    keys: range
    recovery: int | None
    """The type of a unit that may say that decoding can begin here although no key picture does."""


_CODECS = {
    "h264": _Codec(0, 0x1F, 1, 24, 28, range(1, 6), range(5, 6), 6),
    "hevc": _Codec(1, 0x3F, 2, 48, 49, range(32), range(16, 24), None),
}
"""By FFmpeg's names. H.265: 16 to 23 are the types of pictures that need none before (clause 7.4.2.2)."""


class AccessUnits:
    """Takes a stream's RTP packets in the order of arrival, gives whole frames.

    A frame ends at RTP's marker, or where another timestamp begins. One from which a packet is missing is
    left out, for no player decodes it cleanly; behind a gap, one whose picture came from its first slice on
    is taken, for it may be the key frame with which a camera goes on. Parameter sets that come by themselves
    go to the frame behind.
    """

    def __init__(self, codec: str, payload_type: int) -> None:
        self._codec = _CODECS[codec]
        self._payload_type = payload_type
        self._parts: list[bytes] = []
        self._size = 0
        self._has_picture = False
        self._is_key = False
        self._is_damaged = False
        self._is_behind_gap = True
        """The beginning of the picture to come may be missing."""
        self._in_fragment = False
        self._clock = Unwrapped()
        self._raw_timestamp = -1
        self._timestamp = 0
        self._expected = -1
        self._plain = _PLAIN << 8 | payload_type
        self._usual_head = -1
        self._usual_rest = 0
        """Of the head, without its sequence number."""
        self._middle = b""
        self._middle_end = HEADER_BYTES + self._codec.header + 1
        self.damaged = 0
        """Frames left out so far."""
        self.unknown = 0
        """Payloads passed by so far, because of their kind."""

    @property
    def has_packets(self) -> bool:
        """Whether a packet of the stream has come."""
        return self._expected >= 0

    def take(self, packet: bytes) -> Sequence[AccessUnit]:
        """The frames that are whole with this packet: none for most packets.

        Raises:
            Unsuited: a payload of a kind that is not read here.
            FrameTooLarge: a frame that takes more than `LARGEST_FRAME_BYTES` until it is whole.
        """
        if (
            int.from_bytes(packet[:8], "big") == self._usual_head
            and packet[HEADER_BYTES : self._middle_end] == self._middle
        ):
            # The next part of a unit in fragments: what most packets are. In few steps, because with many
            # cameras these are what the processor has to do.
            self._expected = self._expected + 1 & 0xFFFF
            self._usual_head = self._usual_rest | self._expected << 32
            self._grow(packet[self._middle_end :])
            return ()
        self._usual_head = -1
        bounds = payload_bounds(packet)
        if bounds is None or packet[1] & 0x7F != self._payload_type:
            if is_empty(packet) and packet[2] << 8 | packet[3] == self._expected:
                self._expected = self._expected + 1 & 0xFFFF
            return ()
        start, end = bounds
        sequence = packet[2] << 8 | packet[3]
        is_gap = sequence != self._expected
        if is_gap:
            self._is_damaged |= self._expected >= 0
            self._in_fragment = False
        self._expected = (sequence + 1) & 0xFFFF
        timestamp = int.from_bytes(packet[4:8], "big")
        found: Sequence[AccessUnit] = ()
        if timestamp != self._raw_timestamp:
            if self._has_picture or self._is_damaged:
                found = self._ended()
            self._raw_timestamp = timestamp
            self._timestamp = self._clock.take(timestamp)
        if is_gap:
            self._is_behind_gap = True
        self._add(packet, start, end)
        if packet[1] & _MARKER and (self._has_picture or self._is_damaged):
            return (*found, *self._ended()) if found else self._ended()
        if self._in_fragment:
            self._usual_rest = self._plain << 48 | timestamp
            self._usual_head = self._usual_rest | self._expected << 32
        return found

    def _add(self, packet: bytes, start: int, end: int) -> None:
        codec = self._codec
        kind = packet[start] >> codec.shift & codec.mask
        if kind == codec.fragment:
            self._add_fragment(packet, start, end)
        elif kind == codec.aggregate:
            self._in_fragment = False
            at = start + codec.header
            while at + 2 < end:
                behind = at + 2 + (packet[at] << 8 | packet[at + 1])
                if behind > end:
                    self._is_damaged = True
                    return
                if behind > at + 2:
                    self._add_unit(packet[at + 2 : behind])
                at = behind
        elif kind < codec.aggregate:
            self._in_fragment = False
            self._add_unit(packet[start:end])
        else:
            self.unknown += 1
            if self.unknown > _MOST_UNKNOWN:
                raise Unsuited(f"RTP payloads of type {kind} are not read here")

    def _add_fragment(self, packet: bytes, start: int, end: int) -> None:
        at = start + self._codec.header
        if at >= end:
            self._is_damaged = True
            return
        header = packet[at]
        if header & _BEGINS:
            kind = header & self._codec.mask
            if self._codec.header == 1:
                unit = bytes([packet[start] & 0xE0 | kind])
            else:
                unit = bytes([packet[start] & 0x81 | kind << 1, packet[start + 1]])
            self._note(kind, packet[at + 1 : at + 2])
            self._grow(START_CODE + unit)
            self._in_fragment = True
            # What follows has the same, but for the bits that tell the beginning and the end.
            self._middle = packet[start:at] + bytes([header & ~_BEGINS & 0xFF])
        elif not self._in_fragment:
            self._is_damaged = True
            return
        if header & _ENDS:
            self._in_fragment = False
        self._grow(packet[at + 1 : end])

    def _add_unit(self, unit: bytes) -> None:
        kind = unit[0] >> self._codec.shift & self._codec.mask
        self._note(kind, unit[self._codec.header : self._codec.header + 1])
        if kind == self._codec.recovery and _recovers(unit):
            self._is_key = True
        self._grow(START_CODE + unit)

    def _grow(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data) + _PART_BYTES
        if self._size > LARGEST_FRAME_BYTES:
            raise FrameTooLarge

    def _note(self, kind: int, begin: bytes) -> None:
        if kind in self._codec.pictures:
            if self._is_behind_gap:
                self._is_behind_gap = False
                self._is_damaged |= not begin or begin[0] < _FIRST_SLICE
            self._has_picture = True
            if kind in self._codec.keys:
                self._is_key = True

    def _ended(self) -> Sequence[AccessUnit]:
        found: Sequence[AccessUnit] = ()
        if self._has_picture and not self._is_damaged:
            found = (AccessUnit(b"".join(self._parts), self._is_key, self._timestamp),)
        else:
            self.damaged += 1
        self._parts = []
        self._size = 0
        self._has_picture = self._is_key = self._is_damaged = self._in_fragment = False
        self._is_behind_gap = False
        return found


def _recovers(unit: bytes) -> bool:
    """Whether an SEI unit of H.264 holds a recovery point (clauses 7.3.2.3.1 and D.1.7): cameras that refresh
    their picture without key pictures send one where decoding may begin."""
    at = 1
    while at + 1 < len(unit) - 1:
        kind, at = _sei_number(unit, at)
        size, at = _sei_number(unit, at)
        if kind == _RECOVERY_POINT:
            return True
        at += size
    return False


def _sei_number(unit: bytes, at: int) -> tuple[int, int]:
    total = 0
    while at < len(unit) and unit[at] == 0xFF:
        total += 0xFF
        at += 1
    return total + (unit[at] if at < len(unit) else 0), at + 1
