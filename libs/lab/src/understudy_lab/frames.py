"""Reads the cameras' marks out of recorded files: this is how gaps are measured, end to end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import av
import av.error

from understudy_lab.gaps import Gap, find_gaps
from understudy_lab.marks import Mark, parse_mark

__all__ = ["FrameMark", "Gap", "find_gaps", "read_frames"]

_AVCC_VERSION = 1


class FrameMark(NamedTuple):
    """A frame that is wholly in a file. `captured_ms` is UTC in milliseconds."""

    camera: str
    number: int
    captured_ms: int
    is_key: bool


def read_frames(path: Path) -> list[FrameMark]:
    """The marked frames of an H.264 MP4 file, in file order, without decoding any.

    A file that was cut off gives the frames that are whole; one that was cut off in its header, or is no
    video file, gives none, so its frames show up as missing. Raises OSError if the file cannot be opened.
    """
    frames: list[FrameMark] = []
    try:
        # `file:` keeps FFmpeg from taking a name like `concat:...` for an address.
        with av.open(f"file:{path}", "r", format="mp4") as container:
            if not container.streams.video:
                return frames
            video = container.streams.video[0]
            length_size = _length_size(video.codec_context.extradata)
            for packet in container.demux(video):
                mark = _mark_of(bytes(packet), length_size)
                if mark is not None and not packet.is_corrupt:
                    frames.append(FrameMark(*mark, is_key=packet.is_keyframe))
    except (av.error.InvalidDataError, av.error.EOFError):
        # The end of a cut-off file; what came before it counts.
        return frames
    return frames


def _mark_of(packet: bytes, length_size: int) -> Mark | None:
    """The mark of a frame in length-prefixed form; None when it has none, or is not whole."""
    found: Mark | None = None
    for nal in split_length_prefixed(packet, length_size):
        if nal is None:
            return None
        found = found or parse_mark(nal)
    return found


def split_length_prefixed(packet: bytes, length_size: int) -> Iterator[bytes | None]:
    """The NAL units of a packet as MP4 stores them (ISO/IEC 14496-15); at last None if one is cut off."""
    position = 0
    while position < len(packet):
        start = position + length_size
        length = int.from_bytes(packet[position:start], "big")
        position = start + length
        if start > len(packet) or position > len(packet):
            yield None
            return
        yield packet[start:position]


def _length_size(extradata: bytes | None) -> int:
    """How many bytes a length takes: AVCDecoderConfigurationRecord, lengthSizeMinusOne; usually 4."""
    if extradata and len(extradata) > 4 and extradata[0] == _AVCC_VERSION:
        return (extradata[4] & 0b11) + 1
    return 4
