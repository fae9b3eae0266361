"""The mark that a simulated camera puts into each frame: H.264 SEI, user data unregistered.

ITU-T H.264: 7.3.1 (NAL units and emulation prevention), 7.3.2.3 and D.1.7 (SEI, user_data_unregistered). The
payload after the UUID is text, `<camera>,<number>,<captured_ms>`, so that a hex dump of a file can be read.
"""

from __future__ import annotations

import re
import uuid
from typing import NamedTuple

MARK_UUID = uuid.UUID("6e8d1c5a-7f43-4b0e-9a52-b7d4c1f03e96").bytes

NAL_SLICE = 1
NAL_IDR = 5
NAL_SEI = 6
NAL_SPS = 7
NAL_PPS = 8
NAL_TYPE_MASK = 0x1F

_USER_DATA_UNREGISTERED = 5
_SEI_HEADER = bytes([NAL_SEI])
_STOP_BIT = b"\x80"
_NUMBER = re.compile(rb"(0|[1-9][0-9]{0,18})\Z")


class Mark(NamedTuple):
    """Which frame of which camera this is; `captured_ms` is UTC in milliseconds since 1970."""

    camera: str
    number: int
    captured_ms: int


def mark_nal(mark: Mark) -> bytes:
    """The SEI NAL unit of a frame, without start code or length."""
    text = f"{mark.camera},{mark.number},{mark.captured_ms}".encode()
    payload = MARK_UUID + text
    sizes = b"\xff" * (len(payload) // 255) + bytes([len(payload) % 255])
    return _SEI_HEADER + escape(bytes([_USER_DATA_UNREGISTERED]) + sizes + payload + _STOP_BIT)


def parse_mark(nal: bytes) -> Mark | None:
    """The mark in a NAL unit; None if it is no SEI, carries no mark of ours, or is damaged."""
    if not nal or nal[0] & NAL_TYPE_MASK != NAL_SEI or MARK_UUID not in nal:
        return None
    body = unescape(nal[1:])
    position = 0
    while position < len(body) and body[position:] != _STOP_BIT:
        kind, position = _read_ff_coded(body, position)
        size, position = _read_ff_coded(body, position)
        payload = body[position : position + size]
        position += size
        if kind == _USER_DATA_UNREGISTERED and len(payload) == size and payload.startswith(MARK_UUID):
            return _parse_text(payload[len(MARK_UUID) :])
    return None


def escape(rbsp: bytes) -> bytes:
    """Emulation prevention (7.4.1): 00 00 is never followed by 00 to 03.

    An RBSP ends with its stop bit, so never in 00.
    """
    if b"\x00\x00" not in rbsp:
        return rbsp
    out = bytearray()
    zeros = 0
    for byte in rbsp:
        if zeros == 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(out)


def unescape(escaped: bytes) -> bytes:
    """Undoes `escape`."""
    if b"\x00\x00\x03" not in escaped:
        return escaped
    out = bytearray()
    zeros = 0
    for byte in escaped:
        if zeros >= 2 and byte == 3:
            zeros = 0
            continue
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(out)


def _read_ff_coded(body: bytes, position: int) -> tuple[int, int]:
    """A number written as any count of FF bytes and a last byte (7.3.2.3.1), and the position after it."""
    value = 0
    while position < len(body):
        byte = body[position]
        position += 1
        value += byte
        if byte != 0xFF:
            break
    return value, position


def _parse_text(text: bytes) -> Mark | None:
    parts = text.rsplit(b",", 2)
    if len(parts) != 3 or not _NUMBER.match(parts[1]) or not _NUMBER.match(parts[2]):
        return None
    try:
        return Mark(parts[0].decode(), int(parts[1]), int(parts[2]))
    except UnicodeDecodeError:
        return None
