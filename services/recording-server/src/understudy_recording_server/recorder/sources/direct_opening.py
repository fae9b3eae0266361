"""Opening a camera's stream by ourselves: what is asked, and what the answers mean for the recording."""

from __future__ import annotations

import contextlib
import socket
import time

import av
import av.error
from av.container import InputContainer
from understudy_runtime.clock import Clock

from understudy_recording_server.recorder.codecs.bitstream import SYNTAXES, annex_b, opening
from understudy_recording_server.recorder.codecs.frame_size import decoded_size, told_size
from understudy_recording_server.recorder.codecs.picture_size import reorders
from understudy_recording_server.recorder.frames import Arrived, Parameters, Streams
from understudy_recording_server.recorder.sources.addresses import CameraAddress
from understudy_recording_server.recorder.sources.choice import Chosen, chosen_streams
from understudy_recording_server.recorder.sources.direct import TROUBLES, DirectSource, told
from understudy_recording_server.recorder.sources.problems import (
    NO_PARAMETERS,
    SOCKET_TIMEOUT_S,
    SourceProblem,
)
from understudy_recording_server.recorder.sources.read_loop import ReadLoop
from understudy_recording_server.recorder.sources.tracks import Tracks
from understudy_recording_server.rtsp.access_units import Unsuited
from understudy_recording_server.rtsp.conversation import Conversation
from understudy_recording_server.rtsp.description import description_of, medias_of
from understudy_recording_server.rtsp.login import Login

PARAMETERS_WITHIN_S = 10.0
"""For cameras that send their parameter sets only in the stream: a key frame must come within this."""


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
    except TROUBLES as error:
        raise told(error, address.shown) from None


def _begun(
    conversation: Conversation, shown: str, clock: Clock, loop: ReadLoop, *, with_sound: bool
) -> DirectSource:
    chosen = chosen_streams(medias_of(conversation.describe()), with_sound=with_sound)
    conversation.set_up(chosen.video)
    if chosen.sound is not None:
        conversation.set_up(chosen.sound)
    channels = conversation.play()
    if len({channel.number for channel in channels}) < len(channels):
        raise Unsuited("it sends several streams on one channel")
    tracks = Tracks(chosen, channels, clock)
    with contextlib.ExitStack() as undo:
        template = undo.enter_context(_template(chosen))
        streams, first = _streams(chosen, template, conversation, tracks)
        undo.pop_all()
    return DirectSource(conversation, template, streams, tracks, first, loop, shown)


class _Text:
    """What PyAV reads a description from."""

    def __init__(self, text: str) -> None:
        self._rest = text.encode()
        self.name = "description"

    def read(self, size: int) -> bytes:
        given, self._rest = self._rest[:size], self._rest[size:]
        return given


def _template(chosen: Chosen) -> InputContainer:
    """The streams as FFmpeg understands their description: nothing is opened or read for it."""
    text = description_of([media for media in (chosen.video, chosen.sound) if media is not None])
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
    chosen: Chosen, template: InputContainer, conversation: Conversation, tracks: Tracks
) -> tuple[Streams, list[Arrived]]:
    """The streams with their parameters, and the frames that had to be waited for to know them."""
    [video] = template.streams.video
    audio = next(iter(template.streams.audio), None)
    syntax = SYNTAXES[chosen.codec]
    told = video.codec_context.extradata
    sets = opening(told, syntax).parameters if told else ()
    size = told_size(sets, chosen.codec)
    first: list[Arrived] = []
    until_s = time.monotonic() + PARAMETERS_WITHIN_S
    while size is None:
        if time.monotonic() > until_s:
            raise SourceProblem(NO_PARAMETERS)
        for frame in tracks.take(conversation.receive()):
            first.append(frame)
            if frame.is_video and frame.is_key and size is None:
                data = bytes(frame.packet)
                sets = opening(data, syntax).parameters
                size = told_size(sets, chosen.codec) or (decoded_size(data, chosen.codec) if sets else None)
    if reorders(sets, chosen.codec):
        raise Unsuited("the pictures come in another order than they are shown")
    video.codec_context.width, video.codec_context.height = size
    parameters = Parameters(annex_b(sets), *size)
    audio_tick_s = 1 / chosen.sound.clock_hz if chosen.sound else 0.0
    return Streams(video, audio, 1 / chosen.video.clock_hz, audio_tick_s, parameters), first
