"""RTP and RTCP (RFC 3550): what is around a camera's payload. No I/O."""

from __future__ import annotations

import struct

import msgspec

HEADER_BYTES = 12
_PLAIN = 0x80
"""Version 2, without padding, extension and contributing sources: what cameras send."""
_VERSION_BITS, _PADDING_BIT, _EXTENSION_BIT, _SOURCES_BITS = 0xC0, 0x20, 0x10, 0x0F
_SENDER_REPORT, _RECEIVER_REPORT, _SOURCE_DESCRIPTION = 200, 201, 202
_REPORT = struct.Struct(">BBHIQI")
_NTP_EPOCH_S = 2_208_988_800
"""Seconds from 1900 to 1970 (RFC 868)."""
_WRAP = 1 << 32
_HALF = 1 << 31


def payload_bounds(packet: bytes) -> tuple[int, int] | None:
    """Where the payload begins and ends; None if this is no RTP packet."""
    size = len(packet)
    if size <= HEADER_BYTES:
        return None
    first = packet[0]
    if first == _PLAIN:
        return HEADER_BYTES, size
    if first & _VERSION_BITS != _PLAIN:
        return None
    start = HEADER_BYTES + 4 * (first & _SOURCES_BITS)
    if first & _EXTENSION_BIT:
        if size < start + 4:
            return None
        start += 4 + 4 * (packet[start + 2] << 8 | packet[start + 3])
    end = size - packet[-1] if first & _PADDING_BIT else size
    return (start, end) if start < end else None


def is_empty(packet: bytes) -> bool:
    """Whether this is an RTP packet without payload, as some cameras send to keep a connection open."""
    return (
        len(packet) >= HEADER_BYTES and packet[0] & _VERSION_BITS == _PLAIN and payload_bounds(packet) is None
    )


class Unwrapped:
    """RTP timestamps, which wrap at 32 bits, as numbers that go on."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._total = 0

    def take(self, timestamp: int) -> int:
        """The next timestamp, in the order of arrival; the first one stays as it is."""
        if self._last is None:
            self._total = timestamp
        else:
            self._total += signed_step(self._last, timestamp)
        self._last = timestamp
        return self._total


def signed_step(before: int, after: int) -> int:
    """The shorter way from one timestamp to the other."""
    return (after - before + _HALF) % _WRAP - _HALF


class SenderReport(msgspec.Struct, frozen=True, gc=False):
    """What ties a stream's timestamps to the camera's clock (RFC 3550, 6.4.1)."""

    utc_ms: float
    timestamp: int

    def captured_ms(self, timestamp: int, clock_hz: int) -> int:
        """UTC milliseconds of a frame with this timestamp."""
        return round(self.utc_ms + signed_step(self.timestamp, timestamp % _WRAP) * 1000 / clock_hz)


def sender_report(packet: bytes) -> SenderReport | None:
    """The report that an RTCP packet begins with, as compound packets of senders do; None without one."""
    if len(packet) < _REPORT.size:
        return None
    first, kind, _, _, ntp, timestamp = _REPORT.unpack_from(packet)
    if first & _VERSION_BITS != _PLAIN or kind != _SENDER_REPORT or not ntp:
        return None
    return SenderReport((ntp / _WRAP - _NTP_EPOCH_S) * 1000, timestamp)


def receiver_report(ssrc: int, name: bytes) -> bytes:
    """A report that says no more than that we are here, with our name (RFC 3550, 6.4.2 and 6.5): some
    cameras end a session that hears nothing."""
    items = bytes([1, len(name)]) + name
    items += bytes(4 - len(items) % 4)
    empty = struct.pack(">BBHI", _PLAIN, _RECEIVER_REPORT, 1, ssrc)
    words = (4 + len(items)) // 4
    return empty + struct.pack(">BBHI", _PLAIN | 1, _SOURCE_DESCRIPTION, words, ssrc) + items
