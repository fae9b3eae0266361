"""How much of a fragmented MP4 file is whole, and how long it plays.

The recorder writes `ftyp`, `moov`, then for each frame a `moof` and its `mdat` (ISO/IEC 14496-12, 8.8). A
file cut off anywhere is playable up to the end of its last complete `mdat`. Only what is needed for that is
parsed; whatever is not as the standard says ends the whole part there, and never raises.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Buffer = bytes | memoryview
Read = Callable[[int, int], Buffer]
"""Up to so many bytes from an offset on: fewer where they end."""

LARGEST_HEADER = 64 << 20
"""A `moov` or `moof` beyond this is none of ours: an hour of frames has less than a megabyte of them."""

_HEADER = struct.Struct(">I4s")
_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")

# Flags of tfhd and trun (ISO/IEC 14496-12, 8.8.7 and 8.8.8).
_TFHD_BASE_DATA_OFFSET = 0x1
_TFHD_SAMPLE_DESCRIPTION = 0x2
_TFHD_DEFAULT_DURATION = 0x8
_TRUN_DATA_OFFSET = 0x1
_TRUN_FIRST_FLAGS = 0x4
_TRUN_DURATION = 0x100
_TRUN_SIZE = 0x200
_TRUN_FLAGS = 0x400
_TRUN_COMPOSITION = 0x800


@dataclass(frozen=True)
class Whole:
    """The whole part of a file: its length in bytes, the frames in it, and their duration in milliseconds."""

    length: int
    frames: int
    duration_ms: int


@dataclass(frozen=True)
class _Box:
    kind: bytes
    start: int
    body: int
    end: int


@dataclass(frozen=True)
class _VideoTrack:
    track: int
    timescale: int
    default_duration: int


class _Malformed(Exception):
    """The bytes are not what the standard says; caught here, never seen outside."""


def whole_part(data: Buffer) -> Whole | None:
    """The part of a fragmented MP4 file up to its last complete fragment.

    None if there is no complete fragment with a frame of video: then the file holds no footage.
    """
    view = memoryview(data)
    return _whole(lambda at, count: view[at : at + count], len(view))


def whole_part_of_file(descriptor: int, *, despite_errors: bool = False) -> tuple[int, Whole | None]:
    """The size of an open file, and its whole part. It is read, not mapped: a bad sector under a mapping ends
    the process. `despite_errors`: where the disk cannot read a header, everything behind it counts as whole,
    for nobody can tell; frames and duration are those before it, none where not even the first can be read.

    Raises:
        OSError: it cannot be read.
    """
    size = os.fstat(descriptor).st_size
    is_unreadable = False

    def read(at: int, count: int) -> bytes:
        nonlocal is_unreadable
        try:
            return read_at(descriptor, count, at)
        except OSError as error:
            if despite_errors and error.errno == errno.EIO:
                is_unreadable = True
                raise _Malformed from None
            raise

    whole = _whole(read, size)
    if not is_unreadable:
        return size, whole
    return size, Whole(size, whole.frames if whole else 0, whole.duration_ms if whole else 0)


def read_at(descriptor: int, count: int, at: int) -> bytes:
    """So many bytes from an offset on; fewer only at the end of the file. (One `pread` also ends before a
    sector that cannot be read, without a word.)

    Raises:
        OSError: it cannot be read.
    """
    data = os.pread(descriptor, count, at)
    while data and len(data) < count:
        more = os.pread(descriptor, count - len(data), at + len(data))
        if not more:
            break
        data += more
    return data


def _whole(read: Read, size: int) -> Whole | None:
    video: _VideoTrack | None = None
    fragment: list[tuple[int, int, int]] = []
    length = frames = first = end = 0
    try:
        for box in _boxes(read, 0, size):
            if box.kind == b"moov":
                video = _video_track(*_taken(read, box))
            elif box.kind == b"moof" and video is not None:
                fragment = list(_samples(*_taken(read, box), video))
            elif box.kind == b"mdat" and video is not None:
                for start, duration, count in fragment:
                    if frames == 0:
                        first = start
                    frames += count
                    end = max(end, start + duration)
                fragment = []
                length = box.end
            elif box.kind == b"mfra" and frames:
                length = box.end
                break
            elif box.kind not in {b"ftyp", b"styp", b"sidx", b"free", b"skip", b"prft", b"emsg"}:
                break
    except (_Malformed, struct.error, IndexError):
        pass  # What follows is not whole: a torn write, or zeros after a power cut.
    if video is None or frames == 0:
        return None
    return Whole(length, frames, round((end - first) * 1000 / video.timescale))


def _boxes(read: Read, start: int, limit: int) -> Iterator[_Box]:
    """The complete boxes between two offsets, one after another; stops at the first that is not."""
    while limit - start >= _HEADER.size:
        header = read(start, _HEADER.size + _U64.size)
        size, kind = _HEADER.unpack_from(header)
        body = start + _HEADER.size
        if size == 1:
            if limit - body < _U64.size:
                return
            (size,) = _U64.unpack_from(header, _HEADER.size)
            body += _U64.size
        if size < body - start or start + size > limit:
            # Size 0 means "to the end of the file": our writer never uses it, and zeros after a power cut
            # look like it.
            return
        yield _Box(kind, start, body, start + size)
        start += size


def _taken(read: Read, box: _Box) -> tuple[memoryview, _Box]:
    """A box in memory, and where it is there."""
    length = box.end - box.start
    if length > LARGEST_HEADER:
        raise _Malformed
    return memoryview(read(box.start, length)), _Box(box.kind, 0, box.body - box.start, length)


def _inside(view: memoryview, parent: _Box) -> Iterator[_Box]:
    return _boxes(lambda at, count: view[at : at + count], parent.body, parent.end)


def _child(view: memoryview, parent: _Box, kind: bytes) -> _Box | None:
    return next((box for box in _inside(view, parent) if box.kind == kind), None)


def _need(view: memoryview, parent: _Box, kind: bytes) -> _Box:
    box = _child(view, parent, kind)
    if box is None:
        raise _Malformed
    return box


class _Fields:
    """Reads the fields of a full box in order, never beyond its end."""

    def __init__(self, view: memoryview, box: _Box) -> None:
        self._view = view
        self._at = box.body
        self._end = box.end
        word = self.u32()
        self.version = word >> 24
        self.flags = word & 0xFFFFFF

    def u32(self) -> int:
        return self._read(_U32)

    def u64(self) -> int:
        return self._read(_U64)

    def skip(self, count: int) -> None:
        self._at += count

    def _read(self, field: struct.Struct) -> int:
        if self._at + field.size > self._end:
            raise _Malformed
        value: int = field.unpack_from(self._view, self._at)[0]
        self._at += field.size
        return value


def _video_track(view: memoryview, moov: _Box) -> _VideoTrack | None:
    for trak in _inside(view, moov):
        if trak.kind != b"trak":
            continue
        mdia = _need(view, trak, b"mdia")
        hdlr = _need(view, mdia, b"hdlr")
        if bytes(view[hdlr.body + 8 : hdlr.body + 12]) != b"vide":
            continue
        tkhd = _Fields(view, _need(view, trak, b"tkhd"))
        tkhd.skip(16 if tkhd.version == 1 else 8)
        track = tkhd.u32()
        mdhd = _Fields(view, _need(view, mdia, b"mdhd"))
        mdhd.skip(16 if mdhd.version == 1 else 8)
        timescale = mdhd.u32()
        if timescale == 0:
            raise _Malformed
        return _VideoTrack(track, timescale, _default_duration(view, moov, track))
    return None


def _default_duration(view: memoryview, moov: _Box, track: int) -> int:
    mvex = _child(view, moov, b"mvex")
    if mvex is None:
        return 0
    for box in _inside(view, mvex):
        if box.kind == b"trex":
            trex = _Fields(view, box)
            if trex.u32() == track:
                trex.skip(4)
                return trex.u32()
    return 0


def _samples(view: memoryview, moof: _Box, video: _VideoTrack) -> Iterator[tuple[int, int, int]]:
    """Start, duration (both in the track's timescale) and number of the video samples of a fragment."""
    for traf in _inside(view, moof):
        if traf.kind != b"traf":
            continue
        tfhd = _Fields(view, _need(view, traf, b"tfhd"))
        if tfhd.u32() != video.track:
            continue
        default = video.default_duration
        if tfhd.flags & _TFHD_BASE_DATA_OFFSET:
            tfhd.skip(8)
        if tfhd.flags & _TFHD_SAMPLE_DESCRIPTION:
            tfhd.skip(4)
        if tfhd.flags & _TFHD_DEFAULT_DURATION:
            default = tfhd.u32()
        tfdt = _Fields(view, _need(view, traf, b"tfdt"))
        start = tfdt.u64() if tfdt.version == 1 else tfdt.u32()
        duration = count = 0
        for box in _inside(view, traf):
            if box.kind == b"trun":
                run_duration, run_count = _run(view, box, default)
                duration += run_duration
                count += run_count
        yield start, duration, count


def _run(view: memoryview, box: _Box, default: int) -> tuple[int, int]:
    trun = _Fields(view, box)
    count = trun.u32()
    trun.skip(4 * bool(trun.flags & _TRUN_DATA_OFFSET) + 4 * bool(trun.flags & _TRUN_FIRST_FLAGS))
    if not trun.flags & _TRUN_DURATION:
        return default * count, count
    others = 4 * sum(bool(trun.flags & flag) for flag in (_TRUN_SIZE, _TRUN_FLAGS, _TRUN_COMPOSITION))
    duration = 0
    for _ in range(count):
        duration += trun.u32()
        trun.skip(others)
    return duration, count
