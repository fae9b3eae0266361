"""What a camera's thread hands to its sinks: frames with times that a muxer accepts."""

from __future__ import annotations

from dataclasses import dataclass

from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.stream import VideoStream


@dataclass(frozen=True, slots=True)
class Streams:
    """The streams of a connection, as templates for `add_stream_from_template(..., opaque=True)`.

    They are valid until the sink's `ended` or its next `began` returns, and no longer.
    """

    video: VideoStream
    audio: AudioStream | None
    video_tick_s: float
    """The length of a tick of the video frames' times, in seconds."""
    audio_tick_s: float


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as it came, with its place on the connection's time line.

    `dts` and `pts` are in ticks of its stream, from 0 at the connection's first video frame; `dts` strictly
    grows within a stream. All sinks get the same `packet`: each sets its times and its stream before it hands
    it to a muxer of its own, and reads times from here only. The packet may be kept; its bytes do not change.
    """

    packet: Packet[VideoStream] | Packet[AudioStream]
    is_video: bool
    is_key: bool
    """A video frame that decodes by itself. Audio frames all do and are not marked."""
    dts: int
    pts: int
    arrival_s: float
    """Monotonic time of arrival."""
    arrival_ms: int
    """UTC time of arrival."""
    jumped: bool = False
    """The camera's clock jumped here: a new file should begin at the next key frame."""
