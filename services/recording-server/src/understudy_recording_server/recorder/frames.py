"""What a camera hands to its sinks: frames with times that a muxer accepts."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream


@dataclass(frozen=True, slots=True)
class Parameters:
    """Video parameters that came within the stream and are newer than those of its description."""

    extradata: bytes
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Streams:
    """The streams of a connection. They are valid until the sink's `ended` or its next `began` returns, and
    no longer: the connection that they belong to is closed then."""

    video: VideoStream
    audio: AudioStream | None
    """AAC or G.711, or None."""
    video_tick_s: float
    """The length of a tick of the video frames' times, in seconds."""
    audio_tick_s: float
    parameters: Parameters | None = None

    @property
    def file_format(self) -> str:
        """FFmpeg's name of the kind of files that carries both as they are. MP4 has no place for G.711; its
        parent, QuickTime's, has, and browsers and players read the one as the other."""
        is_mp4 = self.audio is None or self.audio.codec_context.name == "aac"
        return "mp4" if is_mp4 else "mov"

    def add_video(self, container: OutputContainer) -> VideoStream:
        """A stream of `container` for this video, copied as it is."""
        # `opaque` copies the camera's parameters as they are, so that no encoder is looked for.
        stream = container.add_stream_from_template(self.video, opaque=True)
        context = stream.codec_context
        if self.parameters is not None:
            context.extradata = self.parameters.extradata
            context.width, context.height = self.parameters.width, self.parameters.height
        if context.name == "hevc":
            # The muxer's own choice, hev1, is refused by QuickTime and Safari.
            context.codec_tag = "hvc1"
        return stream

    def add_audio(self, container: OutputContainer) -> AudioStream | None:
        """A stream of `container` for the audio, if there is some."""
        if self.audio is None:
            return None
        return container.add_stream_from_template(self.audio, opaque=True)


class Arrived(msgspec.Struct, gc=False, eq=False):
    """A packet as a source gives it, and what came with it. Times are the camera's, in ticks of its stream;
    of sound only the first counts."""

    packet: Packet[Stream]
    is_video: bool
    is_key: bool
    dts: int | None
    pts: int | None
    arrival_s: float
    arrival_ms: int
    captured_ms: int | None = None


class Frame(msgspec.Struct, frozen=True, gc=False, eq=False):
    """A frame as it came, with its place on the connection's time line.

    `dts` and `pts` are in ticks of its stream, from 0 at the connection's first video frame; `dts` strictly
    grows within a stream. All sinks get the same `packet`: each sets its times and its stream before it hands
    it to a muxer of its own, and reads times from here only. The packet may be kept; its bytes do not change.
    """

    packet: Packet[Stream]
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
    captured_ms: int | None = None
    """UTC time of capture by the camera's own clock, where a key frame's is known (RTCP)."""
