"""One connection to one camera, read by ourselves: RTSP with the streams inside its TCP connection, H.264,
H.265, AAC and G.711. What most cameras do, for a fraction of what FFmpeg needs; the rest is for `ffmpeg`."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable

from av.container import InputContainer

from understudy_recording_server.recorder.frames import Arrived, Streams
from understudy_recording_server.recorder.sources.problems import (
    BROKE_OFF,
    ENDED,
    SOCKET_TIMEOUT_S,
    STALLED,
    SourceProblem,
    elsewhere,
    failed,
    no_stream,
    refused,
)
from understudy_recording_server.recorder.sources.read_loop import CARE_EVERY_S, ReadLoop
from understudy_recording_server.recorder.sources.tracks import Tracks
from understudy_recording_server.rtsp.access_units import FrameTooLarge, Unsuited
from understudy_recording_server.rtsp.conversation import ConnectionEnded, Conversation, Refused
from understudy_recording_server.rtsp.messages import NotRtsp
from understudy_recording_server.rtsp.rtp import receiver_report

KEY_FRAME_WITHIN_S = 30.0
"""Longer than between the key frames of nearly all cameras: FFmpeg may know another sign of one."""
MOST_DAMAGED = 50
"""Frames with missing packets before the first key frame: FFmpeg may not mind."""
_REPORT_EVERY_S = 5.0
"""RFC 3550, 6.2."""
_NAME = b"understudy"


class DirectSource:
    """An open stream, read by the loop that all share."""

    through_ffmpeg = False
    may_end_in_pieces = False
    tells_silence = True

    def __init__(
        self,
        conversation: Conversation,
        template: InputContainer,
        streams: Streams,
        tracks: Tracks,
        first: list[Arrived],
        loop: ReadLoop,
        shown: str,
    ) -> None:
        """`first`: what has come already. `shown`: the camera's address, for people."""
        self.streams = streams
        self._conversation = conversation
        self._template = template
        self._tracks = tracks
        self._shown = shown
        self._first = first
        self._loop = loop
        self._take: Callable[[Arrived], bool] = lambda _: False
        self._has_frame = False
        self._begun_s = self._last_frame_s = now_s = time.monotonic()
        self._ssrc = secrets.randbits(32)
        self._keep_alive_every_s = max(CARE_EVERY_S, min(conversation.session_s / 2, 30.0))
        self._keep_alive_at_s = now_s + self._keep_alive_every_s
        self._report_at_s = now_s + _REPORT_EVERY_S

    def deliver(self, take: Callable[[Arrived], bool]) -> None:
        """Hand over frames in the order of arrival until `take` answers that it wants none: first those that
        have come already, then the others in a thread of the loop's, while the caller waits.

        Raises:
            SourceProblem: the stream ended, failed, or no frame came for `SOCKET_TIMEOUT_S`.
            Unsuited: FFmpeg has to read this camera.
        """
        self._take = take
        try:
            self._hand([*self._first, *self._tracks.take(self._conversation.early)])
            self._first, self._conversation.early = [], []
            self._conversation.socket.setblocking(False)
            self._loop.read(self)
        except _NoMoreWanted:
            return
        except NotRtsp:
            if self._has_frame:
                raise SourceProblem(BROKE_OFF) from None
            raise Unsuited("what it sends is not understood") from None
        except TROUBLES as error:
            raise told(error, self._shown) from None

    def fileno(self) -> int:
        return self._conversation.socket.fileno()

    def receive(self, buffer: memoryview) -> None:
        try:
            count = self._conversation.socket.recv_into(buffer)
        except BlockingIOError:
            return
        if not count:
            raise ConnectionEnded
        packets, messages = self._conversation.wire.feed(bytes(buffer[:count]))
        if messages:
            self._conversation.heard(messages)
        self._hand(self._tracks.take(packets))

    def care(self) -> None:
        now_s = time.monotonic()
        video = self._tracks.video
        if now_s - self._last_frame_s >= SOCKET_TIMEOUT_S and not self._has_unread():
            if video.has_packets and not self._has_frame:
                raise Unsuited(f"no frame was whole within {SOCKET_TIMEOUT_S:.0f} s")
            raise SourceProblem(STALLED)
        if not video.has_key:
            if video.damaged >= MOST_DAMAGED:
                raise Unsuited("its packets are not numbered as they should be")
            if now_s - self._begun_s >= KEY_FRAME_WITHIN_S:
                raise Unsuited(f"no key frame came within {KEY_FRAME_WITHIN_S:.0f} s")
        if now_s >= self._report_at_s:
            self._report_at_s = now_s + _REPORT_EVERY_S
            for channel in self._tracks.channels:
                self._conversation.say(channel + 1, receiver_report(self._ssrc, _NAME))
        if now_s >= self._keep_alive_at_s:
            self._keep_alive_at_s = now_s + self._keep_alive_every_s
            self._conversation.keep_alive()

    def close(self) -> None:
        self._conversation.close()
        self._template.close()

    def _has_unread(self) -> bool:
        """Whether something waits for us: then it is we who are late, not the camera."""
        try:
            return bool(self._conversation.socket.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def _hand(self, frames: list[Arrived]) -> None:
        has_picture = False
        for frame in frames:
            if not self._take(frame):
                raise _NoMoreWanted
            has_picture |= frame.is_video
        if has_picture:
            self._has_frame = True
            # After they were taken: who took them may have waited for a disk.
            self._last_frame_s = time.monotonic()


class _NoMoreWanted(Exception):
    pass


TROUBLES = (Refused, ConnectionEnded, NotRtsp, FrameTooLarge, OSError)
"""What ends a connection, by itself or while it is opened."""


def told(error: Exception, shown: str) -> Exception:
    """One of `TROUBLES` in words for people; `shown` is the camera's address."""
    match error:
        case Refused() if error.elsewhere:
            return elsewhere(shown)
        case Refused():
            return refused(error.status)
        case ConnectionEnded():
            return SourceProblem(ENDED)
        case NotRtsp():
            return Unsuited("what it answers is not understood")
        case FrameTooLarge():
            return no_stream(shown)
        case OSError():
            return failed(error, shown)
    return error
