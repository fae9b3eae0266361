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
)
from understudy_recording_server.recorder.sources.read_loop import ReadLoop
from understudy_recording_server.recorder.sources.tracks import REORDERED, Tracks
from understudy_recording_server.rtsp.access_units import Unsuited
from understudy_recording_server.rtsp.conversation import Conversation
from understudy_recording_server.rtsp.description import description_of
from understudy_recording_server.rtsp.login import Login

PARAMETERS_WITHIN_S = 10.0
"""For cameras that send their parameter sets only in the stream: a key frame must come within this."""
OPENED_WITHIN_S = 14.0
"""With all answers; then somebody else would give it up (`Camera.check`)."""


def open_directly(
    address: CameraAddress, ip: str, clock: Clock, loop: ReadLoop, *, with_sound: bool
) -> DirectSource:
    """Connect to a camera at a checked address. Each answer is waited for `SOCKET_TIMEOUT_S` at most; other
    threads run meanwhile.

    Raises:
        SourceProblem: with the reason in clear words, and whether the camera refused.
        Unsuited: FFmpeg has to read this camera.
    """
    try:
        with contextlib.ExitStack() as undo:
            connected = socket.create_connection((ip, address.port), SOCKET_TIMEOUT_S)
            login = Login(address.username, address.password)
            conversation = Conversation(connected, address.bare_url_at(ip), login, SOCKET_TIMEOUT_S)
            undo.callback(conversation.close)
            source = _begun(conversation, address.shown, clock, loop, with_sound=with_sound)
            undo.pop_all()
            return source
    except TROUBLES as error:
        raise told(error, address.shown) from None


def _begun(
    conversation: Conversation, shown: str, clock: Clock, loop: ReadLoop, *, with_sound: bool
) -> DirectSource:
    began_s = time.monotonic()
    chosen = chosen_streams(conversation.describe(), with_sound=with_sound)
    with contextlib.ExitStack() as undo:
        template = undo.enter_context(_template(chosen))
        sets = _described_sets(chosen, template)
        conversation.set_up(chosen.video)
        if chosen.sound is not None:
            conversation.set_up(chosen.sound)
        channels = conversation.play()
        if len({channel.number for channel in channels}) < len(channels):
            raise Unsuited("it sends several streams on one channel")
        tracks = Tracks(chosen, channels, clock)
        until_s = min(time.monotonic() + PARAMETERS_WITHIN_S, began_s + OPENED_WITHIN_S)
        streams, first = _streams(chosen, template, sets, conversation, tracks, until_s)
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


def _described_sets(chosen: Chosen, template: InputContainer) -> tuple[bytes, ...]:
    """The parameter sets of the description, if it has some; before anything is set up, since a camera may
    have room for one session only."""
    described = template.streams.video[0].codec_context.extradata
    sets = opening(described, SYNTAXES[chosen.codec]).parameters if described else ()
    _be_in_order(sets, chosen.codec)
    return sets


def _be_in_order(sets: tuple[bytes, ...], codec: str) -> None:
    if reorders(sets, codec):
        raise Unsuited(REORDERED)


def _streams(
    chosen: Chosen,
    template: InputContainer,
    sets: tuple[bytes, ...],
    conversation: Conversation,
    tracks: Tracks,
    until_s: float,
) -> tuple[Streams, list[Arrived]]:
    """The streams with their parameters, and the frames that had to be waited for to know them."""
    [video] = template.streams.video
    audio = next(iter(template.streams.audio), None)
    size = told_size(sets, chosen.codec)
    first: list[Arrived] = []
    while size is None:
        if time.monotonic() > until_s:
            raise Unsuited(NO_PARAMETERS)
        for frame in tracks.take(conversation.receive()):
            if size is None and frame.is_key:
                data = bytes(frame.packet)
                sets = opening(data, SYNTAXES[chosen.codec]).parameters
                size = told_size(sets, chosen.codec) or (decoded_size(data, chosen.codec) if sets else None)
            if size is not None:
                first.append(frame)
    _be_in_order(sets, chosen.codec)
    video.codec_context.width, video.codec_context.height = size
    parameters = Parameters(annex_b(sets), *size)
    audio_tick_s = 1 / chosen.sound.clock_hz if chosen.sound else 0.0
    return Streams(video, audio, 1 / chosen.video.clock_hz, audio_tick_s, parameters), first
