"""The simulated cameras' clip as a file that GStreamer can serve: cheap, for nothing is encoded meanwhile."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
from av.packet import Packet
from av.stream import Stream

from understudy_lab.cameras.clip import ClipFrame, ClipSettings, load_clip
from understudy_lab.marks import Mark, mark_nal

_START = b"\x00\x00\x00\x01"
_TICKS = 90_000


def write_clip(path: Path, seconds: float, settings: ClipSettings | None = None) -> None:
    """Write an MP4 file with a mark in each frame: numbers from 0, all of a camera named `clip`."""
    wanted = settings or ClipSettings()
    clip = load_clip(wanted)
    parameters = [clip.sps, clip.pps]

    def unit(number: int, frame: ClipFrame) -> bytes:
        mark = mark_nal(Mark("clip", number, 0))
        parts = [*(parameters if frame.is_key else []), mark, *frame.slices]
        return b"".join(_START + part for part in parts)

    looped = [clip.frames[number % len(clip.frames)] for number in range(round(seconds * wanted.fps))]
    step = _TICKS // wanted.fps
    first = b"".join(unit(number, frame) for number, frame in enumerate(looped[: wanted.gop_frames]))
    with (
        av.open(io.BytesIO(first), format="h264") as template,
        av.open(str(path), "w", format="mp4") as output,
    ):
        stream = output.add_stream_from_template(template.streams.video[0], opaque=True)
        stream.time_base = Fraction(1, _TICKS)
        for number, frame in enumerate(looped):
            packet: Packet[Stream] = Packet(unit(number, frame))
            packet.stream = stream
            packet.time_base = Fraction(1, _TICKS)
            packet.dts = packet.pts = number * step
            packet.duration = step
            packet.is_keyframe = frame.is_key
            output.mux_one(packet)


def served(path: Path) -> str:
    """A launch line for the file. It begins anew, with a key frame, when its first viewer comes."""
    return f"( filesrc location={path} ! qtdemux ! rtph264pay name=pay0 pt=96 )"
