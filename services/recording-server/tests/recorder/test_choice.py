"""Which sound is recorded of what a camera describes."""

from __future__ import annotations

import pytest
from understudy_recording_server.recorder.sources.choice import chosen_streams
from understudy_recording_server.rtsp.aac import AacFrames
from understudy_recording_server.rtsp.access_units import Unsuited
from understudy_recording_server.rtsp.description import medias_of
from understudy_recording_server.rtsp.g711 import G711Frames

VIDEO = "m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
AAC = (
    "m=audio 0 RTP/AVP 97\na=rtpmap:97 MPEG4-GENERIC/16000/1\n"
    "a=fmtp:97 mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3\n"
)
MULAW, ALAW = "m=audio 0 RTP/AVP 0\n", "m=audio 0 RTP/AVP 8\na=rtpmap:8 PCMA/8000/1\n"
NAMED = "m=audio 0 RTP/AVP 98\na=rtpmap:98 pcmu/16000\n"
OPUS = "m=audio 0 RTP/AVP 99\na=rtpmap:99 opus/48000/2\n"
LATM = "m=audio 0 RTP/AVP 100\na=rtpmap:100 MP4A-LATM/44100\n"


@pytest.mark.parametrize(
    ("described", "kind", "payload_type", "clock_hz"),
    [
        (VIDEO + AAC, AacFrames, 97, 16_000),
        (VIDEO + MULAW, G711Frames, 0, 8000),
        (VIDEO + ALAW, G711Frames, 8, 8000),
        (VIDEO + NAMED, G711Frames, 98, 16_000),
        (VIDEO + OPUS + ALAW + AAC, G711Frames, 8, 8000),
        (MULAW + VIDEO + LATM, G711Frames, 0, 8000),
    ],
)
def test_the_first_sound_that_can_be_copied_is(described, kind, payload_type, clock_hz):
    chosen = chosen_streams(medias_of(described), with_sound=True)
    assert isinstance(chosen.sounds, kind)
    assert chosen.sound is not None
    assert (chosen.sound.payload_type, chosen.sound.clock_hz) == (payload_type, clock_hz)
    silent = chosen_streams(medias_of(described), with_sound=False)
    assert (silent.sound, silent.sounds) == (None, None)


def test_other_sound_is_left_out_or_for_ffmpeg():
    chosen = chosen_streams(medias_of(VIDEO + OPUS), with_sound=True)
    assert (chosen.sound, chosen.sounds) == (None, None)
    with pytest.raises(Unsuited, match="MP4A-LATM"):
        chosen_streams(medias_of(VIDEO + LATM), with_sound=True)
