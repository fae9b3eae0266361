"""One file of one camera while it is written: fragmented MP4, each frame with the kernel at once."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from understudy_footage import FootageRoot, make_folders

from understudy_recording_server.recorder.frames import Frame, Streams

MOVFLAGS = "frag_every_frame+empty_moov+default_base_moof"
"""`frag_keyframe` would hold a whole group of pictures in memory before it writes (facts.md)."""
MUXER = {"movflags": MOVFLAGS, "flush_packets": "1"}
MUXER_WITH_SOUND = {
    "movflags": "empty_moov+default_base_moof",
    "flush_packets": "1",
    # Not every frame: with two tracks the muxer (FFmpeg 8.1) misplaces every other audio frame.
    "frag_duration": "200000",
    # Sound that is announced and does not come must not hold the picture back (it would: 10 s).
    "max_interleave_delta": "500000",
}

_BUFFER_BYTES = 1 << 16
"""A fragment up to this size is a single write(). Each open file has as much memory, and malloc hands it on
from file to file until all of it has been touched: with 256 KB, 90 cameras grew by 16 MB in three minutes."""


class PartFile:
    """The unfinished file as PyAV wants it: write-only, unbuffered, not seekable.

    After an error it is `closed`, which keeps PyAV from writing a trailer behind torn data.
    """

    def __init__(self, path: Path) -> None:
        make_folders(path.parent)
        self.path = path
        self.size = 0
        self.closed = False
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)

    @property
    def name(self) -> str:
        return self.path.name

    def write(self, data: bytes) -> int:
        try:
            count = os.write(self._descriptor, data)
            self.size += count
            if count == len(data):
                return count
            view = memoryview(data)[count:]
            while view:
                count = os.write(self._descriptor, view)
                self.size += count
                view = view[count:]
        except OSError:
            self.closed = True
            raise
        return len(data)

    def check(self) -> None:
        """Notice that somebody removed the file under us: the kernel goes on taking data for it.

        Raises:
            OSError: the file has no name any more.
        """
        if os.fstat(self._descriptor).st_nlink == 0:
            self.closed = True
            raise FileNotFoundError(errno.ENOENT, "the file was removed while it was written")

    def close(self) -> None:
        self.closed = True
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


@dataclass(frozen=True)
class WrittenPart:
    """A closed file that has not got its final name. `torn` says that it must be cut to its whole frames."""

    path: Path
    start_ms: int
    media_ms: int
    size: int
    torn: bool


class Segment:
    """A file being written. Not thread-safe: its camera's lock guards it."""

    def __init__(
        self,
        root: FootageRoot,
        camera: str,
        start_ms: int,
        streams: Streams,
        first_dts: int,
    ) -> None:
        """Create the file and write its header.

        Raises:
            OSError: the disk said no; nothing is left open.
        """
        self.start_ms, self._file = _create(root, camera, start_ms)
        self.first_dts = first_dts
        self._tick_s = tick_s = streams.video_tick_s
        self._end_dts = first_dts
        self._first_audio_dts = round(first_dts * tick_s / streams.audio_tick_s) if streams.audio else 0
        self._nominal = round(0.04 / tick_s)
        self._last_dts: int | None = None
        self._time_base = streams.video.time_base or Fraction(1, 90_000)
        self._held: Frame | None = None
        self._first_frame_end: int | None = None
        try:
            self._container = av.open(
                self._file,
                "w",
                format=streams.file_format,
                options=MUXER if streams.audio is None else MUXER_WITH_SOUND,
                buffer_size=_BUFFER_BYTES,
            )
            self._stream = streams.add_video(self._container)
            self._audio = streams.add_audio(self._container)
            self._container.start_encoding()
        except BaseException:
            self._file.close()
            self._file.path.unlink(missing_ok=True)
            raise
        self._header = self._file.size

    @property
    def path(self) -> Path:
        return self._file.path

    @property
    def size(self) -> int:
        """Bytes that the kernel has taken."""
        return self._file.size

    @property
    def has_first_frame(self) -> bool:
        """Whether the first frame has been handed to the kernel as a whole.

        The muxer writes a frame when the next one tells its duration, so this lags by one frame.
        """
        return self._first_frame_end is not None and self._file.size >= self._first_frame_end

    def write(self, frame: Frame) -> None:
        """Write a frame.

        Raises:
            OSError: the disk said no. The file is torn: close it.
        """
        if not frame.is_video:
            self._write_audio(frame)
            return
        if frame.is_key:
            self._file.check()
        if self._audio is None:
            self._write_video(frame)
            return
        # With sound the muxer collects: what it has been given cannot be taken back (see `close`).
        held, self._held = self._held, frame
        if held is not None:
            self._write_video(held)

    def _write_video(self, frame: Frame) -> None:
        packet, dts = frame.packet, frame.dts
        if self._first_frame_end is None:
            self._first_frame_end = self._header + packet.size
        if self._last_dts is not None:
            self._nominal = dts - self._last_dts
        self._last_dts = dts
        duration = packet.duration or self._nominal
        self._end_dts = dts + duration
        packet.time_base = self._time_base  # Another muxer may have counted in ticks of its own.
        packet.dts, packet.pts, packet.duration = dts - self.first_dts, frame.pts - self.first_dts, duration
        packet.stream = self._stream
        self._container.mux_one(packet)

    def is_before(self, frame: Frame) -> bool:
        """Whether an audio frame is of a time before this file's first picture."""
        return frame.dts < self._first_audio_dts

    def _write_audio(self, frame: Frame) -> None:
        dts = frame.dts - self._first_audio_dts
        if self._audio is None or dts < 0:
            return
        packet = frame.packet
        packet.dts = packet.pts = dts
        packet.stream = self._audio
        self._container.mux_one(packet)

    def media_s(self, dts: int) -> float:
        """The time from the first frame to `dts`, in seconds."""
        return (dts - self.first_dts) * self._tick_s

    def close(self, *, without_last: bool = False) -> WrittenPart:
        """Write what is left and close the file. Errors of the disk show as `torn`.

        `without_last`: the picture that came last is in pieces, and is left out. With sound it is still here;
        else the muxer has it, for it waits for the next one's time, and is not let write it.
        """
        if without_last and self._audio is None:
            self._file.closed = True
        torn = self._file.closed
        held, self._held = self._held, None
        try:
            if held is not None and not without_last and not torn:
                self._write_video(held)
            self._container.close()
        except OSError:
            torn = True
        finally:
            self._file.close()
        media_ms = round(self.media_s(self._end_dts) * 1000)
        return WrittenPart(self._file.path, self.start_ms, media_ms, self._file.size, torn)


def _create(root: FootageRoot, camera: str, start_ms: int) -> tuple[int, PartFile]:
    """A new file whose start nobody has: two connections may begin in the same millisecond."""
    while True:
        try:
            return start_ms, PartFile(root.part(camera, start_ms))
        except FileExistsError:
            start_ms += 1
