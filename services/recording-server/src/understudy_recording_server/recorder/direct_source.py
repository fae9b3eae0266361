"""One connection to one camera, read by ourselves: RTSP with the streams inside its TCP connection, H.264,
H.265 and AAC. What most cameras do, for a fraction of what FFmpeg needs; the rest is for `ffmpeg_source`."""

from __future__ import annotations

import contextlib
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

import av
import av.error
from av.container import InputContainer
from understudy_contracts.model import CameraState
from understudy_runtime.clock import Clock

from understudy_recording_server.recorder.addresses import CameraAddress
from understudy_recording_server.recorder.bitstream import SYNTAXES, annex_b, opening
from understudy_recording_server.recorder.direct_tracks import SoundTrack, VideoTrack
from understudy_recording_server.recorder.frame_size import decoded_size, told_size
from understudy_recording_server.recorder.frames import Arrived, Parameters, Streams
from understudy_recording_server.recorder.picture_size import reorders
from understudy_recording_server.recorder.read_loop import ReadLoop
from understudy_recording_server.recorder.source_problems import (
    ENDED,
    NO_PARAMETERS,
    NO_VIDEO,
    SOCKET_TIMEOUT_S,
    STALLED,
    SourceProblem,
    elsewhere,
    failed,
    no_stream,
    refused,
)
from understudy_recording_server.rtsp.aac import AacFrames
from understudy_recording_server.rtsp.access_units import FrameTooLarge, Unsuited
from understudy_recording_server.rtsp.conversation import (
    Channel,
    ConnectionEnded,
    Conversation,
    Refused,
)
from understudy_recording_server.rtsp.description import Media, description_of, medias_of
from understudy_recording_server.rtsp.login import Login
from understudy_recording_server.rtsp.messages import NotRtsp
from understudy_recording_server.rtsp.rtp import receiver_report
from understudy_recording_server.rtsp.wire import Packet

PARAMETERS_WITHIN_S = 10.0
"""For cameras that send their parameter sets only in the stream: a key frame must come within this."""
KEY_FRAME_WITHIN_S = 30.0
"""Longer than between the key frames of nearly all cameras: FFmpeg may know another sign of one."""
_CODECS = {"H264": "h264", "H265": "hevc"}
_AAC = "MPEG4-GENERIC"
_OTHER_AAC = "MP4A-LATM"
_REPORT_EVERY_S = 5.0
"""RFC 3550, 6.2."""
_NAME = b"understudy"


@dataclass(frozen=True)
class _Wanted:
    """The streams to be recorded, and the description with which FFmpeg's muxers know them."""

    video: Media
    sound: Media | None
    codec: str
    aac: AacFrames | None


class DirectSource:
    """An open stream, read by the loop that all share."""

    may_end_in_pieces = False
    tells_silence = True

    def __init__(
        self,
        conversation: Conversation,
        template: InputContainer,
        streams: Streams,
        reader: _Reader,
        first: list[Arrived],
        loop: ReadLoop,
    ) -> None:
        self.streams = streams
        self._conversation = conversation
        self._template = template
        self._reader = reader
        self._first = first
        self._loop = loop
        self._take: Callable[[Arrived], bool] = lambda _: False
        self._has_frame = False
        self._begun_s = self._last_frame_s = now_s = time.monotonic()
        self._ssrc = secrets.randbits(32)
        self._keep_alive_every_s = max(1.0, min(conversation.session_s / 2, 30.0))
        self._keep_alive_at_s = now_s + self._keep_alive_every_s
        self._report_at_s = now_s + _REPORT_EVERY_S

    def deliver(self, take: Callable[[Arrived], bool]) -> None:
        """Hand over frames in the order of arrival, in a thread of the loop's, until `take` answers that it
        wants none; the caller waits.

        Raises:
            SourceProblem: the stream ended, failed, or no frame came for `SOCKET_TIMEOUT_S`.
            Unsuited: FFmpeg has to read this camera.
        """
        self._take = take
        try:
            self._hand([*self._first, *self._reader.take(self._conversation.early)])
            self._first, self._conversation.early = [], []
            self._conversation.socket.setblocking(False)
            self._loop.read(self)
        except _NoMoreWanted:
            return
        except _TROUBLES as error:
            raise _told(error, self._reader.shown) from None

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
        self._hand(self._reader.take(packets))

    def care(self) -> None:
        now_s = time.monotonic()
        video = self._reader.video
        if now_s - self._last_frame_s >= SOCKET_TIMEOUT_S:
            if video.damaged and not self._has_frame:
                raise Unsuited("its packets are not numbered as they should be")
            raise SourceProblem(STALLED)
        if not video.has_key and now_s - self._begun_s >= KEY_FRAME_WITHIN_S:
            raise Unsuited(f"no key frame came within {KEY_FRAME_WITHIN_S:.0f} s")
        if now_s >= self._report_at_s:
            self._report_at_s = now_s + _REPORT_EVERY_S
            for channel in self._reader.channels:
                self._conversation.say(channel + 1, receiver_report(self._ssrc, _NAME))
        if now_s >= self._keep_alive_at_s:
            self._keep_alive_at_s = now_s + self._keep_alive_every_s
            self._conversation.keep_alive()

    def close(self) -> None:
        self._conversation.close()
        self._template.close()

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


class _Reader:
    """Packets into frames, by channel."""

    def __init__(self, wanted: _Wanted, channels: list[Channel], clock: Clock, shown: str) -> None:
        self.shown = shown
        self.channels = [channel.number for channel in channels]
        self._clock = clock
        began_s = clock.monotonic()
        # Only together do they tell what belongs together.
        times = [channel.rtp_time for channel in channels]
        media = wanted.video
        self.video = VideoTrack(wanted.codec, media.payload_type, media.clock_hz, began_s, times[0])
        self._tracks: dict[int, VideoTrack | SoundTrack] = {channels[0].number: self.video}
        if wanted.sound is not None and wanted.aac is not None:
            self._tracks[channels[1].number] = SoundTrack(
                wanted.aac, wanted.sound.clock_hz, began_s, times[1]
            )

    def take(self, packets: list[Packet]) -> list[Arrived]:
        found: list[Arrived] = []
        arrival_s, arrival_ms = self._clock.monotonic(), self._clock.wall_ms()
        tracks = self._tracks
        for channel, packet in packets:
            track = tracks.get(channel)
            if track is not None:
                found += track.take(packet, arrival_s, arrival_ms)
            else:
                of = tracks.get(channel - 1)
                if of is not None:
                    of.report(packet)
        return found


def open_directly(
    address: CameraAddress, ip: str, clock: Clock, loop: ReadLoop, *, with_sound: bool
) -> DirectSource:
    """Connect to a camera at a checked address. This ends within seconds; other threads run meanwhile.

    Raises:
        SourceProblem: with the reason in clear words, and whether the camera refused.
        Unsuited: FFmpeg has to read this camera.
    """
    try:
        with contextlib.ExitStack() as undo:
            connected = undo.enter_context(socket.create_connection((ip, address.port), SOCKET_TIMEOUT_S))
            login = Login(address.username, address.password)
            conversation = Conversation(connected, address.bare_url_at(ip), login, SOCKET_TIMEOUT_S)
            source = _begun(conversation, address.shown, clock, loop, with_sound=with_sound)
            undo.pop_all()
            return source
    except _TROUBLES as error:
        raise _told(error, address.shown) from None


def _begun(
    conversation: Conversation, shown: str, clock: Clock, loop: ReadLoop, *, with_sound: bool
) -> DirectSource:
    wanted = _wanted(medias_of(conversation.describe()), with_sound=with_sound)
    conversation.set_up(wanted.video)
    if wanted.sound is not None:
        conversation.set_up(wanted.sound)
    channels = conversation.play()
    if len({channel.number for channel in channels}) < len(channels):
        raise Unsuited("it sends several streams on one channel")
    reader = _Reader(wanted, channels, clock, shown)
    with contextlib.ExitStack() as undo:
        template = undo.enter_context(_template(wanted))
        streams, first = _streams(wanted, template, conversation, reader)
        undo.pop_all()
    return DirectSource(conversation, template, streams, reader, first, loop)


def _wanted(medias: list[Media], *, with_sound: bool) -> _Wanted:
    if not medias:
        raise NotRtsp("the description names no stream")
    video = next((media for media in medias if media.kind == "video"), None)
    if video is None:
        raise SourceProblem(NO_VIDEO, CameraState.REFUSED)
    codec = _CODECS.get(video.encoding)
    interleaved = video.fmtp.get("packetization-mode") == "2" or any(
        video.fmtp.get(name, "0") != "0" for name in ("sprop-max-don-diff", "sprop-depack-buf-nalus")
    )
    if codec is None or interleaved:
        raise Unsuited(f"video as {video.encoding} is not read")
    sound = aac = None
    if with_sound:
        for media in medias:
            if media.kind == "audio" and media.encoding == _OTHER_AAC:
                raise Unsuited(f"sound as {media.encoding} is not read")
            if media.kind == "audio" and media.encoding == _AAC and sound is None:
                sound, aac = media, AacFrames(media.payload_type, media.fmtp)
    return _Wanted(video, sound, codec, aac)


class _Text:
    """What PyAV reads a description from."""

    def __init__(self, text: str) -> None:
        self._rest = text.encode()
        self.name = "description"

    def read(self, size: int) -> bytes:
        given, self._rest = self._rest[:size], self._rest[size:]
        return given


def _template(wanted: _Wanted) -> InputContainer:
    """The streams as FFmpeg understands their description: nothing is opened or read for it."""
    text = description_of([media for media in (wanted.video, wanted.sound) if media is not None])
    options = {
        "sdp_flags": "custom_io",
        "analyzeduration": "1",
        "probesize": "32",
        "protocol_whitelist": "none",
    }
    try:
        return av.open(_Text(text), "r", format="sdp", options=options)
    except (av.error.FFmpegError, OSError, ValueError):
        raise Unsuited("the description makes no sense to FFmpeg") from None


def _streams(
    wanted: _Wanted, template: InputContainer, conversation: Conversation, reader: _Reader
) -> tuple[Streams, list[Arrived]]:
    """The streams with their parameters, and the frames that had to be waited for to know them."""
    [video] = template.streams.video
    audio = next(iter(template.streams.audio), None)
    syntax = SYNTAXES[wanted.codec]
    told = video.codec_context.extradata
    sets = opening(told, syntax).parameters if told else ()
    size = told_size(sets, wanted.codec)
    first: list[Arrived] = []
    until_s = time.monotonic() + PARAMETERS_WITHIN_S
    while size is None:
        if time.monotonic() > until_s:
            raise SourceProblem(NO_PARAMETERS)
        for frame in reader.take(conversation.receive()):
            first.append(frame)
            if frame.is_video and frame.is_key and size is None:
                data = bytes(frame.packet)
                sets = opening(data, syntax).parameters
                size = told_size(sets, wanted.codec) or (decoded_size(data, wanted.codec) if sets else None)
    if reorders(sets, wanted.codec):
        raise Unsuited("the pictures come in another order than they are shown")
    video.codec_context.width, video.codec_context.height = size
    parameters = Parameters(annex_b(sets), *size)
    audio_tick_s = 1 / wanted.sound.clock_hz if wanted.sound else 0.0
    return Streams(video, audio, 1 / wanted.video.clock_hz, audio_tick_s, parameters), first


_TROUBLES = (Refused, ConnectionEnded, NotRtsp, FrameTooLarge, OSError)


def _told(error: Exception, shown: str) -> Exception:
    """The same in words for people."""
    match error:
        case Refused() if error.elsewhere:
            return elsewhere(shown)
        case Refused() if error.is_transport:
            return Unsuited("it does not send within the connection")
        case Refused():
            return refused(error.status)
        case ConnectionEnded():
            return SourceProblem(ENDED)
        case NotRtsp() | FrameTooLarge():
            return no_stream(shown)
        case OSError():
            return failed(error, shown)
    return error
