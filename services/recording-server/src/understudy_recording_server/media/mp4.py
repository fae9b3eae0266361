"""Reads the fragmented MP4 that our recorder writes (ISO/IEC 14496-12, 8.8): its head, and where each
fragment begins, when it plays, and where its time is written. Files are read by position, never mapped into
memory: one that is cut meanwhile would kill the process.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_PEEK = 320
"""A fragment's head of ours fits in; a longer one is read again."""
_LARGEST_HEAD = 4 << 20
_LATEST = 1 << 48
"""No time in a file of ours comes near: it is a damaged number."""
_VIDEO = b"vide"
_NOT_SYNC = 0x10000
"""sample_is_non_sync_sample, in a sample's flags (8.8.3.1)."""
_MOST_SAMPLES = 4096
"""In a run: more are a damaged number, and would take minutes to add up."""

_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")
_HEADER = struct.Struct(">I4s")


class Unreadable(Exception):
    """Not a file of ours, or not whole: whoever reads it leaves it out."""


@dataclass(frozen=True)
class Track:
    """`description` is the sample description: codec and parameters. Times are in 1/`timescale` s."""

    id: int
    handler: bytes
    timescale: int
    description: bytes


@dataclass(frozen=True)
class Head:
    """`init` is what a player needs before the first fragment, which begins at `len(init)`."""

    init: bytes
    tracks: tuple[Track, ...]
    video: Track

    @property
    def parameters(self) -> tuple[Track, ...]:
        """Files whose parameters are equal play one after the other with one head."""
        return self.tracks


@dataclass(frozen=True)
class Run:
    """The samples of one track in a fragment. `time_at` is where in the file its time is written."""

    track: int
    time: int
    duration: int
    time_at: int
    is_key: bool


@dataclass(frozen=True)
class Fragment:
    """A `moof` and its `mdat`, from byte `start` to `end`. `sequence_at` is where its number is written."""

    start: int
    end: int
    sequence: int
    sequence_at: int
    runs: tuple[Run, ...]

    def of(self, track: int) -> Run | None:
        return next((run for run in self.runs if run.track == track), None)


def read_head(descriptor: int) -> Head:
    """The head of an open file.

    Raises:
        Unreadable: there is none, or no video in it.
        OSError: the disk said no.
    """
    position = 0
    while True:
        size, kind = _box_at(descriptor, position)
        position += size
        if position > _LARGEST_HEAD:
            raise Unreadable
        if kind == b"moov":
            break
    init = _bytes_at(descriptor, position, 0)
    if len(init) != position:
        raise Unreadable
    return parse_head(init)


def parse_head(init: bytes) -> Head:
    """Raises:
    Unreadable: it is none, or has no video.
    """
    try:
        moov = _child(init, 0, len(init), b"moov")
        tracks = tuple(_track(init, *trak) for trak in _children(init, *moov, b"trak"))
    except (struct.error, IndexError):
        raise Unreadable from None
    video = next((track for track in tracks if track.handler == _VIDEO), None)
    if video is None:
        raise Unreadable
    return Head(init, tracks, video)


def fragments(descriptor: int, start: int, limit: int) -> Iterator[Fragment]:
    """The whole fragments from byte `start` on, ending at `limit` or where something else follows.

    Raises:
        OSError: the disk said no.
    """
    while start + _HEADER.size < limit:
        try:
            found = fragment_at(descriptor, start)
        except Unreadable:
            return
        if found.end > limit:
            return
        yield found
        start = found.end


def fragment_at(descriptor: int, start: int) -> Fragment:
    """The fragment that begins at byte `start`; whether the file holds all of it is for the caller to see.

    Raises:
        Unreadable: there is none.
        OSError: the disk said no.
    """
    data = _bytes_at(descriptor, _PEEK, start)
    try:
        size, kind = _HEADER.unpack_from(data)
        if kind != b"moof" or size > _LARGEST_HEAD:
            raise Unreadable
        if size + _HEADER.size > len(data):
            data = _bytes_at(descriptor, size + _HEADER.size, start)
        body, kind = _HEADER.unpack_from(data, size)
        if kind != b"mdat" or body < _HEADER.size:
            raise Unreadable
        mfhd, _ = _child(data, _HEADER.size, size, b"mfhd")
        runs = tuple(_run(data, start, *traf) for traf in _children(data, _HEADER.size, size, b"traf"))
        sequence = _U32.unpack_from(data, mfhd + 4)[0]
    except (struct.error, IndexError):
        raise Unreadable from None
    return Fragment(start, start + size + body, sequence, start + mfhd + 4, runs)


def last_fragment(descriptor: int, size: int, track: int) -> tuple[Fragment, int] | None:
    """The last fragment with this track, and where the fragments end: by the list at the end of a file that
    was closed in order (`mfra`, 8.8.9). None without such a list.

    Raises:
        OSError: the disk said no.
    """
    try:
        length, kind, _, list_size = struct.unpack(">I4sII", _bytes_at(descriptor, 16, size - 16))
        if kind != b"mfro" or length != 16 or not 24 <= list_size < size:
            return None
        begin = size - list_size
        position = begin + _HEADER.size
        while position < size - 16:
            box, kind = _box_at(descriptor, position)
            if kind == b"tfra":
                version, id_, sizes, count = struct.unpack(">IIII", _bytes_at(descriptor, 16, position + 8))
                wide = version >> 24 == 1
                entry = (16 if wide else 8) + sum(1 + (sizes >> shift & 3) for shift in (0, 2, 4))
                if id_ == track and count:
                    at = position + 24 + entry * (count - 1)
                    raw = _bytes_at(descriptor, 16, at)
                    offset = struct.unpack(">QQ", raw)[1] if wide else struct.unpack(">II", raw[:8])[1]
                    if offset >= begin:
                        return None
                    return fragment_at(descriptor, offset), begin
            position += box
    except (struct.error, Unreadable, ValueError, OSError):
        return None  # A damaged list is as good as none: the fragments themselves count.
    return None


def _bytes_at(descriptor: int, count: int, at: int) -> bytes:
    try:
        # A short answer will do: what was asked for may reach into a bad sector, what is needed not.
        return os.pread(descriptor, count, at)
    except OSError as error:
        if error.errno == errno.EIO:
            raise Unreadable from None
        raise


def _box_at(descriptor: int, position: int) -> tuple[int, bytes]:
    raw = _bytes_at(descriptor, _HEADER.size, position)
    if len(raw) != _HEADER.size:
        raise Unreadable
    size, kind = _HEADER.unpack(raw)
    if size < _HEADER.size:
        raise Unreadable
    return size, kind


def _children(data: bytes, start: int, end: int, kind: bytes) -> Iterator[tuple[int, int]]:
    """Body and end of each box of this kind."""
    while start + _HEADER.size <= end:
        size, found = _HEADER.unpack_from(data, start)
        if size < _HEADER.size or start + size > end:
            raise IndexError
        if found == kind:
            yield start + _HEADER.size, start + size
        start += size


def _child(data: bytes, start: int, end: int, kind: bytes) -> tuple[int, int]:
    found = next(_children(data, start, end, kind), None)
    if found is None:
        raise IndexError
    return found


def _track(data: bytes, start: int, end: int) -> Track:
    tkhd, _ = _child(data, start, end, b"tkhd")
    mdia = _child(data, start, end, b"mdia")
    mdhd, _ = _child(data, *mdia, b"mdhd")
    hdlr, _ = _child(data, *mdia, b"hdlr")
    minf = _child(data, *mdia, b"minf")
    stbl = _child(data, *minf, b"stbl")
    stsd = _child(data, *stbl, b"stsd")
    timescale: int = _U32.unpack_from(data, mdhd + (20 if data[mdhd] == 1 else 12))[0]
    if timescale == 0:
        raise IndexError
    return Track(
        id=_U32.unpack_from(data, tkhd + (20 if data[tkhd] == 1 else 12))[0],
        handler=data[hdlr + 8 : hdlr + 12],
        timescale=timescale,
        description=data[slice(*stsd)],
    )


def _run(data: bytes, offset: int, start: int, end: int) -> Run:
    """The first run of samples of a `traf`: our recorder writes a sample at a time."""
    tfhd, _ = _child(data, start, end, b"tfhd")
    word, track = struct.unpack_from(">II", data, tfhd)
    position = tfhd + 8 + 8 * bool(word & 0x1) + 4 * bool(word & 0x2)
    duration = flags = 0
    if word & 0x8:
        duration = _U32.unpack_from(data, position)[0]
        position += 4
    position += 4 * bool(word & 0x10)
    if word & 0x20:
        flags = _U32.unpack_from(data, position)[0]
    tfdt, _ = _child(data, start, end, b"tfdt")
    if data[tfdt] != 1:
        raise IndexError  # A time of 32 bits cannot take a place further on.
    time: int = _U64.unpack_from(data, tfdt + 4)[0]
    total = 0
    for index, (trun, _) in enumerate(_children(data, start, end, b"trun")):
        run, first = _samples(data, trun, duration, flags)
        total += run
        flags = first if index == 0 else flags
    if time + total >= _LATEST:
        raise IndexError
    return Run(track, time, total, offset + tfdt + 4, is_key=not flags & _NOT_SYNC)


def _samples(data: bytes, trun: int, duration: int, flags: int) -> tuple[int, int]:
    """Duration of a run, and the flags of its first sample."""
    word, count = struct.unpack_from(">II", data, trun)
    position = trun + 8 + 4 * bool(word & 0x1)
    first = flags
    if word & 0x4:
        first = _U32.unpack_from(data, position)[0]
        position += 4
    if count > _MOST_SAMPLES:
        raise IndexError
    total = 0
    for index in range(count):
        total += _U32.unpack_from(data, position)[0] if word & 0x100 else duration
        position += 4 * bool(word & 0x100) + 4 * bool(word & 0x200)
        if word & 0x400:
            if index == 0 and not word & 0x4:
                first = _U32.unpack_from(data, position)[0]
            position += 4
        position += 4 * bool(word & 0x800)
    return total, first
