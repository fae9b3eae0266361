"""One connection to one camera, read by FFmpeg: for all that `direct` does not read, as UDP, TLS and
streams with reordered pictures. It costs several times as much: FFmpeg asks the kernel for each packet three
times."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream
from understudy_contracts.model import CameraState
from understudy_runtime.clock import Clock

from understudy_recording_server.recorder.frames import Arrived, Streams
from understudy_recording_server.recorder.protocol import CameraSpec
from understudy_recording_server.recorder.sources.addresses import CameraAddress
from understudy_recording_server.recorder.sources.problems import (
    ENDED,
    NO_PARAMETERS,
    NO_VIDEO,
    SOCKET_TIMEOUT_S,
    STALLED,
    ParametersMissing,
    SourceProblem,
    elsewhere,
    failed,
    no_stream,
    refused,
    silent,
)

SHORT_PROBE_BYTES = 32_768
"""Enough where the session description has the parameter sets; 32 leaves width unknown (facts.md)."""
LONG_PROBE_BYTES = 5_000_000
"""For cameras that send the parameter sets only in the stream: a whole group of pictures must fit."""

_PROTOCOLS = "rtp,srtp,tcp,tls,udp"
"""Not `rtsp`: FFmpeg (from 7.1.4 and 8.0.2 on) looks here for the address of a redirect, and follows none
then. The first address needs no entry, because the format is given."""
_RECORDED = frozenset({"h264", "hevc", "mpeg4"})
_SOUNDS = frozenset({"aac", "pcm_mulaw", "pcm_alaw"})
"""AAC and G.711. Others are left out: nothing is transcoded."""


class FfmpegSource:
    """An open stream. Close it in the thread that reads it."""

    through_ffmpeg = True
    may_end_in_pieces = True
    """FFmpeg gives out what it has of a frame when the connection ends, and no player could decode that."""
    tells_silence = False
    """A thread that waits in FFmpeg cannot be interrupted cheaply: a camera that goes on with reports and
    without frames is for others to notice."""

    def __init__(
        self,
        container: InputContainer,
        video: VideoStream,
        audio: AudioStream | None,
        address: CameraAddress,
        clock: Clock,
    ) -> None:
        self._container = container
        self._address = address
        self._clock = clock
        self.streams = Streams(video, audio, _tick_s(video), _tick_s(audio) if audio else 0.0)

    def deliver(self, take: Callable[[Arrived], bool]) -> None:
        """Hand over packets in the order of arrival, in this thread, until `take` answers that it wants none.

        Raises:
            SourceProblem: the stream ended, failed, or nothing came for `SOCKET_TIMEOUT_S`.
        """
        for arrived in self._packets():
            if not take(arrived):
                return

    def _packets(self) -> Iterator[Arrived]:
        clock, video = self._clock, self.streams.video.index
        last = time.monotonic()
        try:
            wanted = [stream for stream in (self.streams.video, self.streams.audio) if stream is not None]
            for packet in self._container.demux(wanted):
                waited_s = time.monotonic() - last
                if packet.size:
                    yield _arrived(packet, video, clock)
                if waited_s >= SOCKET_TIMEOUT_S:
                    # The demuxer answers the first time-out with the frame that its parser held back.
                    raise SourceProblem(STALLED)
                # Who took the packet may have waited for a disk: that is not the camera's silence.
                last = time.monotonic()
        except av.error.TimeoutError:
            raise SourceProblem(STALLED) from None
        except (av.error.FFmpegError, OSError) as error:
            raise _problem(error, self._address) from None
        raise SourceProblem(ENDED)

    def close(self) -> None:
        self._container.close()


def open_with_ffmpeg(
    spec: CameraSpec, address: CameraAddress, ip: str, clock: Clock, *, probe_bytes: int = SHORT_PROBE_BYTES
) -> FfmpegSource:
    """Connect to a camera at a checked address. This ends within seconds, unless the camera sends just enough
    to keep the connection busy. Other threads run meanwhile.

    Raises:
        SourceProblem: with the reason in clear words, and whether the camera refused.
    """
    url = address.url_at(ip)
    options = {
        "rtsp_transport": spec.transport,
        "allowed_media_types": "video" if spec.audio == "off" else "video+audio",
        "protocol_whitelist": _PROTOCOLS,
        # Not `fflags nobuffer`: it throws the first group of pictures away (facts.md).
        # 0 would mean FFmpeg's own 5 s, so that only `probesize` ended it: 1.3 s at 200 kbit/s.
        "analyzeduration": "1" if probe_bytes == SHORT_PROBE_BYTES else "5000000",
        "probesize": str(probe_bytes),
        # Of the socket. PyAV's own time limits would take the interpreter's lock at every read: with 90
        # cameras that is half as much processor time again, and as much more until the last key frame.
        "timeout": str(int(SOCKET_TIMEOUT_S * 1_000_000)),
    }
    began = time.monotonic()
    try:
        container = av.open(url, "r", format="rtsp", options=options)
    except (av.error.FFmpegError, OSError) as error:
        if time.monotonic() - began >= SOCKET_TIMEOUT_S:
            # Interrupted in the middle of a request, the demuxer may call the answer invalid.
            raise silent(address.shown) from None
        if isinstance(error, av.error.ArgumentError):
            raise elsewhere(address.shown) from None
        # `from None` and no `str(error)`: PyAV's errors carry the URL with the password.
        raise _problem(error, address) from None
    try:
        video = _recordable(container)
    except SourceProblem:
        container.close()
        raise
    audio = None
    for stream in container.streams.audio:
        if audio is None and stream.codec_context is not None and stream.codec_context.name in _SOUNDS:
            audio = stream
    return FfmpegSource(container, video, audio, address, clock)


def _recordable(container: InputContainer) -> VideoStream:
    video = next(iter(container.streams.video), None)
    if video is None or video.codec_context is None:
        raise SourceProblem(NO_VIDEO, CameraState.REFUSED)
    codec = video.codec_context
    if codec.name not in _RECORDED:
        raise SourceProblem(f"the camera sends {codec.name}: set it to H.264 or H.265", CameraState.REFUSED)
    if not codec.extradata or not codec.width:
        raise ParametersMissing(NO_PARAMETERS)
    return video


def _tick_s(stream: VideoStream | AudioStream) -> float:
    return float(stream.time_base) if stream.time_base else 1 / 90_000


def _arrived(packet: Packet[Stream], video: int, clock: Clock) -> Arrived:
    is_video = packet.stream_index == video
    is_key = is_video and packet.is_keyframe
    return Arrived(
        packet,
        is_video,
        is_key,
        packet.dts,
        packet.pts,
        clock.monotonic(),
        clock.wall_ms(),
        _captured_ms(packet) if is_key else None,
    )


def _captured_ms(packet: Packet[Stream]) -> int | None:
    """When the camera says that it took the frame, in UTC milliseconds; known from its first RTCP sender
    report on. (`AVProducerReferenceTime` of libavutil begins with it, in microseconds.)"""
    if not packet.has_sidedata("prft"):
        return None
    [wallclock_us] = struct.unpack_from("<q", bytes(packet.get_sidedata("prft")))
    return int(wallclock_us // 1000)


_STATUSES: list[tuple[type[Exception], int]] = [
    (av.error.HTTPUnauthorizedError, 401),
    (av.error.HTTPForbiddenError, 403),
    (av.error.HTTPNotFoundError, 404),
    (av.error.HTTPClientError, 400),
    (av.error.HTTPServerError, 500),
]


def _problem(error: Exception, address: CameraAddress) -> SourceProblem:
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return refused(status)
    if isinstance(error, av.error.EOFError):
        return SourceProblem(ENDED)
    if isinstance(error, av.error.InvalidDataError):
        return no_stream(address.shown)
    if isinstance(error, OSError):
        return failed(error, address.shown)
    return SourceProblem(f"the connection to {address.shown} failed: {type(error).__name__}")
