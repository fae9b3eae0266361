"""A connection to a camera, whoever reads it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

from understudy_contracts.model import CameraState
from understudy_runtime.clock import Clock

from understudy_recording_server.recorder.frames import Arrived, Streams
from understudy_recording_server.recorder.protocol import CameraSpec
from understudy_recording_server.recorder.sources.addresses import AddressRefused, allowed, camera_address
from understudy_recording_server.recorder.sources.direct_opening import open_directly
from understudy_recording_server.recorder.sources.ffmpeg import SHORT_PROBE_BYTES, open_with_ffmpeg
from understudy_recording_server.recorder.sources.problems import SourceProblem
from understudy_recording_server.recorder.sources.read_loop import ReadLoop


class Source(Protocol):
    """An open stream."""

    streams: Streams
    through_ffmpeg: bool
    may_end_in_pieces: bool
    """Whether the last frame of a connection that ended by itself may be a part of one."""
    tells_silence: bool
    """Whether it notices by itself that no frames come, also while other things do."""

    def deliver(self, take: Callable[[Arrived], bool]) -> None:
        """Hand over what comes, in the order of arrival, until `take` answers that it wants no more.

        Raises:
            SourceProblem: the stream ended, failed, or fell silent.
            Unsuited: it must be opened again `through_ffmpeg`.
        """

    def close(self) -> None: ...


def open_source(
    spec: CameraSpec,
    clock: Clock,
    loop: ReadLoop,
    *,
    through_ffmpeg: bool = False,
    probe_bytes: int = SHORT_PROBE_BYTES,
) -> Source:
    """Connect to a camera. Each answer is waited for some seconds; other threads run meanwhile.

    Raises:
        SourceProblem: with the reason in clear words, and whether the camera refused.
        Unsuited: it must be opened again `through_ffmpeg`, after a pause: a camera may not be ready at once.
    """
    try:
        address = camera_address(spec.url, spec.username, spec.password)
        ip = allowed(_resolve(address.host, address.port))
    except AddressRefused as error:
        raise SourceProblem(error.message, CameraState.REFUSED) from None
    if spec.transport == "tcp" and address.scheme == "rtsp" and not through_ffmpeg:
        return open_directly(address, ip, clock, loop, with_sound=spec.audio != "off")
    return open_with_ffmpeg(spec, address, ip, clock, probe_bytes=probe_bytes)


def _resolve(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise SourceProblem(f"the camera's host {host} cannot be resolved") from None
    return [str(entry[4][0]) for entry in found]
