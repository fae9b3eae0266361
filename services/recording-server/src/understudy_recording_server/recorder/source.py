"""One connection to one camera: RTSP by PyAV, packets as they come."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterator

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream
from understudy_contracts.model import CameraState

from understudy_recording_server.recorder.addresses import (
    AddressRefused,
    CameraAddress,
    allowed,
    camera_address,
)
from understudy_recording_server.recorder.frames import Streams
from understudy_recording_server.recorder.protocol import CameraSpec

SOCKET_TIMEOUT_S = 4.0
"""A stall is to be known within 5 s, and `Camera.check` comes once a second."""
SHORT_PROBE_BYTES = 32_768
"""Enough where the session description has the parameter sets; 32 leaves width unknown (facts.md)."""
LONG_PROBE_BYTES = 5_000_000
"""For cameras that send the parameter sets only in the stream: a whole group of pictures must fit."""

STALLED = f"stalled: no frame for {SOCKET_TIMEOUT_S:.0f} s"
_PROTOCOLS = "rtp,srtp,tcp,tls,udp"
"""Not `rtsp`: FFmpeg (from 7.1.4 and 8.0.2 on) looks here for the address of a redirect, and follows none
then. The first address needs no entry, because the format is given."""
_RECORDED = frozenset({"h264", "hevc", "mpeg4"})
_AUDIO = "aac"
"""What MP4 carries and every player reads. G.711 and others are left out: nothing is transcoded."""


class SourceProblem(Exception):
    """The connection cannot be made or has ended. The message is for people and holds no credentials."""

    def __init__(self, reason: str, state: CameraState = CameraState.RECONNECTING) -> None:
        super().__init__(reason)
        self.reason = reason
        self.state = state


class ParametersMissing(SourceProblem):
    """The short probe did not find the parameter sets; a long one will."""


class Source:
    """An open stream. Close it in the thread that reads it."""

    def __init__(
        self,
        container: InputContainer,
        video: VideoStream,
        audio: AudioStream | None,
        address: CameraAddress,
    ) -> None:
        self._container = container
        self._address = address
        self.streams = Streams(video, audio, _tick_s(video), _tick_s(audio) if audio else 0.0)

    def packets(self) -> Iterator[Packet[Stream]]:
        """Packets in the order of arrival.

        Raises:
            SourceProblem: the stream ended, failed, or nothing came for `SOCKET_TIMEOUT_S`.
        """
        last = time.monotonic()
        try:
            wanted = [stream for stream in (self.streams.video, self.streams.audio) if stream is not None]
            for packet in self._container.demux(wanted):
                waited_s = time.monotonic() - last
                if packet.size:
                    yield packet
                if waited_s >= SOCKET_TIMEOUT_S:
                    # The demuxer answers the first time-out with the frame that its parser held back.
                    raise SourceProblem(STALLED)
                # Who took the packet may have waited for a disk: that is not the camera's silence.
                last = time.monotonic()
        except av.error.TimeoutError:
            raise SourceProblem(STALLED) from None
        except (av.error.FFmpegError, OSError) as error:
            raise _problem(error, self._address) from None
        raise SourceProblem("the camera ended the stream")

    def close(self) -> None:
        self._container.close()


def open_source(spec: CameraSpec, *, probe_bytes: int = SHORT_PROBE_BYTES) -> Source:
    """Connect to a camera. This ends within seconds, unless the camera sends just enough to keep the
    connection busy. Other threads run meanwhile.

    Raises:
        SourceProblem: with the reason in clear words, and whether the camera refused.
    """
    try:
        address = camera_address(spec.url, spec.username, spec.password)
        url = address.url_at(allowed(_resolve(address)))
    except AddressRefused as error:
        raise SourceProblem(error.message, CameraState.REFUSED) from None
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
            raise SourceProblem(_SILENT.format(shown=address.shown)) from None
        if isinstance(error, av.error.ArgumentError):
            raise SourceProblem(_ELSEWHERE.format(shown=address.shown), CameraState.REFUSED) from None
        # `from None` and no `str(error)`: PyAV's errors carry the URL with the password.
        raise _problem(error, address) from None
    try:
        video = _recordable(container)
    except SourceProblem:
        container.close()
        raise
    audio = None
    for stream in container.streams.audio:
        if audio is None and stream.codec_context is not None and stream.codec_context.name == _AUDIO:
            audio = stream
    return Source(container, video, audio, address)


def _recordable(container: InputContainer) -> VideoStream:
    video = next(iter(container.streams.video), None)
    if video is None or video.codec_context is None:
        raise SourceProblem("the camera sends no video", CameraState.REFUSED)
    codec = video.codec_context
    if codec.name not in _RECORDED:
        raise SourceProblem(f"the camera sends {codec.name}: set it to H.264 or H.265", CameraState.REFUSED)
    if not codec.extradata or not codec.width:
        raise ParametersMissing("the camera has not sent its video parameters yet")
    return video


def _tick_s(stream: VideoStream | AudioStream) -> float:
    return float(stream.time_base) if stream.time_base else 1 / 90_000


def _resolve(address: CameraAddress) -> list[str]:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise SourceProblem(f"the camera's host {address.host} cannot be resolved") from None
    return [str(entry[4][0]) for entry in found]


_SILENT = f"no answer from {{shown}} within {SOCKET_TIMEOUT_S:.0f} s"
_ELSEWHERE = "{shown} sends us to another address, or its answer is invalid: no other address is followed"
_REFUSALS: list[tuple[type[Exception], str]] = [
    (av.error.HTTPUnauthorizedError, "the camera refused the user name or password"),
    (av.error.HTTPForbiddenError, "the camera forbids this user to see the stream"),
    (av.error.HTTPNotFoundError, "the camera has no stream under this address"),
    (av.error.HTTPClientError, "the camera refused the request"),
    (av.error.ConnectionRefusedError, "nothing answers at {shown}: connection refused"),
]
_FAILURES: list[tuple[type[Exception], str]] = [
    (av.error.HTTPServerError, "the camera reported an error of its own"),
    (av.error.TimeoutError, _SILENT),
    (av.error.EOFError, "the camera ended the stream"),
    (av.error.InvalidDataError, "what {shown} answers is no video stream"),
]


def _problem(error: Exception, address: CameraAddress) -> SourceProblem:
    for kind, reason in _REFUSALS:
        if isinstance(error, kind):
            return SourceProblem(reason.format(shown=address.shown), CameraState.REFUSED)
    for kind, reason in _FAILURES:
        if isinstance(error, kind):
            return SourceProblem(reason.format(shown=address.shown))
    number = getattr(error, "errno", None)
    if isinstance(number, int) and number in errno.errorcode:
        return SourceProblem(f"the connection to {address.shown} failed: {os.strerror(number)}")
    return SourceProblem(f"the connection to {address.shown} failed: {type(error).__name__}")
