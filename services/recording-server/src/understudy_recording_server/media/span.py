"""A period of footage as one fragmented MP4: cut from the files that hold it, joined, its times made to grow.

The result is never made as a whole. It is a head and, of each file, one range of bytes in which only the
fragments' numbers and times are overwritten; so its length is known at once, and any range of it can be had.
"""

from __future__ import annotations

import errno
import hashlib
import os
import struct
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from understudy_footage import read_at
from understudy_footage.names import PART_SUFFIX

from understudy_recording_server.media.finding import Clip
from understudy_recording_server.media.mp4 import (
    Fragment,
    Head,
    Unreadable,
    fragment_at,
    fragments,
    last_fragment,
    read_head,
)

CHUNK_BYTES = 512 * 1024
_SEQUENCES_PER_PIECE = 1 << 20
_LAST_SEQUENCE = (1 << 32) - 1
_EMPTY_BOX = struct.Struct(">I4s")
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True)
class Cut:
    """A file, and which part of it is wanted; None: from its beginning, to its end. UTC milliseconds."""

    clip: Clip
    from_ms: int | None
    to_ms: int | None


@dataclass(frozen=True)
class Piece:
    """A range of bytes of a file that holds whole fragments, the first with a key frame.

    `shift` is added to its times, in the video's time scale.
    """

    path: Path
    start: int
    end: int
    shift: int

    @property
    def size(self) -> int:
        return self.end - self.start


@dataclass(frozen=True)
class SpanFile:
    """What is served. `next_ms`: where to go on when the camera's parameters changed before the end, so that
    one head cannot serve both. Times in UTC milliseconds."""

    head: Head
    pieces: tuple[Piece, ...]
    start_ms: int
    end_ms: int
    next_ms: int | None

    @property
    def size(self) -> int:
        return len(self.head.init) + sum(piece.size for piece in self.pieces)

    @property
    def etag(self) -> str:
        digest = hashlib.sha256(self.head.init)
        for piece in self.pieces:
            digest.update(f"{piece.path} {piece.start} {piece.end} {piece.shift}\n".encode())
        return digest.hexdigest()[:32]


def cuts_of(clips: Sequence[Clip], begin_ms: int, end_ms: int) -> list[Cut]:
    """Which parts of which files make up a period, by start. Where two servers recorded at once, the later
    file takes over at its first frame, which is a key frame; a file that brings nothing new is left out."""
    chosen: list[Clip] = []
    for clip in clips:
        if clip.end_ms <= begin_ms or clip.start_ms >= end_ms or clip.end_ms <= clip.start_ms:
            continue
        if not chosen or clip.end_ms > chosen[-1].end_ms:
            if chosen and clip.start_ms == chosen[-1].start_ms:
                chosen.pop()
            chosen.append(clip)
    cuts: list[Cut] = []
    for index, clip in enumerate(chosen):
        follower = chosen[index + 1].start_ms if index + 1 < len(chosen) else end_ms
        first, last = max(clip.start_ms, begin_ms), min(clip.end_ms, follower, end_ms)
        if first < last:
            from_ms = first if first > clip.start_ms else None
            cuts.append(Cut(clip, from_ms, last if last < clip.end_ms else None))
    return cuts


def open_span(cuts: Sequence[Cut]) -> SpanFile | None:
    """Measure the pieces. Files that are gone or damaged are left out; None if nothing is left. For a thread.

    Raises:
        OSError: the disk said no.
    """
    head: Head | None = None
    pieces: list[Piece] = []
    clock = start_ms = end_ms = 0
    next_ms = None
    for cut in cuts:
        try:
            with opened(cut.clip.path) as descriptor:
                own = read_head(descriptor)
                if head is not None and own.parameters != head.parameters:
                    next_ms = max(cut.clip.start_ms, cut.from_ms or 0)
                    break
                measured = _measure(descriptor, own, cut)
        except (FileNotFoundError, Unreadable):
            continue
        if measured is None:
            continue
        begin, end, first, last = measured
        if head is None:
            head = own
            start_ms = cut.clip.start_ms + first * 1000 // own.video.timescale
        pieces.append(Piece(cut.clip.path, begin, end, clock - first))
        clock += last - first
        end_ms = cut.clip.start_ms + last * 1000 // own.video.timescale
    return None if head is None else SpanFile(head, tuple(pieces), start_ms, end_ms, next_ms)


def _measure(descriptor: int, head: Head, cut: Cut) -> tuple[int, int, int, int] | None:
    """First and last byte of the wanted fragments, and first and last time in the video's time scale."""
    size = os.fstat(descriptor).st_size
    body, video = len(head.init), head.video
    if cut.from_ms is None and cut.to_ms is None:
        listed = last_fragment(descriptor, size, video.id)
        if listed is not None:
            last, end = listed
            first, run = fragment_at(descriptor, body).of(video.id), last.of(video.id)
            if first is not None and first.is_key and run is not None and first.time <= run.time:
                return body, end, first.time, run.time + run.duration
    return _walk(fragments(descriptor, body, size), head, cut)


def _walk(found: Iterator[Fragment], head: Head, cut: Cut) -> tuple[int, int, int, int] | None:
    scale = head.video.timescale
    first_wanted = _ticks(cut.from_ms, cut, scale)
    last_wanted = _ticks(cut.to_ms, cut, scale)
    origin: int | None = None
    begin: tuple[int, int] | None = None
    end = last = 0
    for fragment in found:
        run = fragment.of(head.video.id)
        if run is not None:
            origin = run.time if origin is None else origin
            at = run.time - origin
            if last_wanted is not None and at >= last_wanted:
                break
            if run.is_key and (begin is None or (first_wanted is not None and at <= first_wanted)):
                begin = (fragment.start, run.time)
            last = run.time + run.duration
        end = fragment.end
    if begin is None or end <= begin[0]:
        return None
    return begin[0], end, begin[1], last


def _ticks(time_ms: int | None, cut: Cut, scale: int) -> int | None:
    return None if time_ms is None else (time_ms - cut.clip.start_ms) * scale // 1000


def read_span(span: SpanFile, start: int, end: int) -> Generator[bytes, None, None]:
    """The bytes from `start` to `end` of the joined file. For a thread.

    Raises:
        OSError: a file is gone or cannot be read; what was given until then is right.
    """
    init = span.head.init
    if start < len(init):
        yield init[start:end]
    position = len(init)
    for number, piece in enumerate(span.pieces):
        if position >= end:
            return
        if position + piece.size > start:
            for at, chunk in _read_piece(span.head, piece, number, max(0, start - position)):
                here = position + at
                wanted = chunk[max(0, start - here) : max(0, end - here)]
                if wanted:
                    yield wanted
                if here + len(chunk) >= end:
                    return
        position += piece.size


def _read_piece(head: Head, piece: Piece, number: int, skip: int) -> Iterator[tuple[int, bytes]]:
    """Chunks of whole fragments of a piece, with the place of each, the first being that of byte `skip`."""
    scale = head.video.timescale
    shifts = {track.id: piece.shift * track.timescale // scale for track in head.tracks}
    with opened(piece.path) as descriptor:
        good = piece.start
        chunk = _Chunk(good)
        for fragment in fragments(descriptor, piece.start, piece.end):
            good = fragment.end
            if good - piece.start <= skip:
                chunk = _Chunk(good)
                continue
            sequence = number * _SEQUENCES_PER_PIECE + fragment.sequence
            chunk.patches.append((fragment.sequence_at, (sequence & _LAST_SEQUENCE).to_bytes(4)))
            times = ((run.time_at, max(0, run.time + shifts.get(run.track, 0))) for run in fragment.runs)
            chunk.patches.extend((at, time.to_bytes(8)) for at, time in times)
            chunk.ends.append(good)
            if good - chunk.begin >= CHUNK_BYTES:
                yield chunk.begin - piece.start, chunk.read(descriptor)
                chunk = _Chunk(good)
        if chunk.ends:
            yield chunk.begin - piece.start, chunk.read(descriptor)
        if os.fstat(descriptor).st_size < piece.end:
            raise FileNotFoundError(2, "the file was cut while it was read")
        yield from _filling(good - piece.start, piece.size)


class _Chunk:
    """Fragments that are read at once: where the first begins, where each ends, and what is overwritten."""

    def __init__(self, begin: int) -> None:
        self.begin = begin
        self.ends: list[int] = []
        self.patches: list[tuple[int, bytes]] = []

    def read(self, descriptor: int) -> bytes:
        """All of it; in the place of fragments that the disk cannot read, what players pass over."""
        try:
            return _patched(descriptor, self.begin, self.ends[-1], self.patches)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
        begin, found = self.begin, b""
        for end in self.ends:
            patches = [patch for patch in self.patches if begin <= patch[0] < end]
            try:
                found += _patched(descriptor, begin, end, patches)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                found += b"".join(data for _, data in _filling(0, end - begin))
            begin = end
        return found


def _filling(at: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Boxes that players pass over, in the place of fragments that are damaged: the length has been told, and
    what follows is good."""
    while at < end:
        size = min(CHUNK_BYTES, end - at)
        if 0 < end - at - size < _EMPTY_BOX.size:
            size -= _EMPTY_BOX.size
        if size < _EMPTY_BOX.size:
            raise OSError(errno.EIO, "the file is damaged")
        yield at, _EMPTY_BOX.pack(size, b"free") + bytes(size - _EMPTY_BOX.size)
        at += size


def _patched(descriptor: int, begin: int, end: int, patches: Sequence[tuple[int, bytes]]) -> bytes:
    data = bytearray(read_at(descriptor, end - begin, begin))
    if len(data) != end - begin:
        raise FileNotFoundError(2, "the file was cut while it was read")
    for at, value in patches:
        data[at - begin : at - begin + len(value)] = value
    return bytes(data)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """A file, also when it has got its final name since it was listed as unfinished.

    Raises:
        OSError: it cannot be opened, or is a symbolic link.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except FileNotFoundError:
        finished = next(path.parent.glob(f"{path.name.partition('.')[0]}_*.mp4"), None)
        if path.suffix != PART_SUFFIX or finished is None:
            raise
        descriptor = os.open(finished, _FLAGS)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
