"""What a player must be told of a video before it begins: the `codecs` parameter (RFC 6381) and its size."""

from __future__ import annotations

from dataclasses import dataclass

from understudy_recording_server.media.mp4 import Unreadable, parse_head


@dataclass(frozen=True)
class VideoKind:
    """`mime` as Media Source Extensions want it; width and height in pixels."""

    mime: str
    width: int
    height: int


def kind_of(init: bytes) -> VideoKind:
    """What the head of an MP4 says.

    Raises:
        Unreadable: it has no video, or one that is neither H.264 nor H.265.
    """
    description = parse_head(init).video.description
    # A sample description: version, count; then the first entry, with its size at 24 bytes after its type
    # (ISO/IEC 14496-12, 12.1.3).
    entry = description[8:]
    if len(entry) < 86:
        raise Unreadable
    name = entry[4:8].decode("latin-1")
    width, height = int.from_bytes(entry[32:34]), int.from_bytes(entry[34:36])
    if name in {"avc1", "avc3"}:
        box = _body(entry, b"avcC")
        codec = f"{name}.{box[1:4].hex()}"
    elif name in {"hvc1", "hev1"}:
        codec = f"{name}.{_hevc(_body(entry, b'hvcC'))}"
    else:
        raise Unreadable
    return VideoKind(f'video/mp4; codecs="{codec}"', width, height)


def _body(entry: bytes, kind: bytes) -> bytes:
    found = entry.find(kind, 86)
    if found < 0 or len(entry) < found + 4 + 13:
        raise Unreadable
    return entry[found + 4 :]


def _hevc(box: bytes) -> str:
    """ISO/IEC 14496-15, annex E.3: profile, compatibility, tier and level, constraints."""
    profile = box[1]
    space = ("", "A", "B", "C")[profile >> 6]
    tier = "H" if profile & 0x20 else "L"
    compatibility = int(f"{int.from_bytes(box[2:6]):032b}"[::-1], 2)
    constraints = box[6:12].rstrip(b"\x00")
    parts = [f"{space}{profile & 0x1F}", f"{compatibility:X}", f"{tier}{box[12]}"]
    return ".".join([*parts, *(f"{byte:X}" for byte in constraints)])
