import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_recording_server.rtsp.description import Media, control_url, description_of, medias_of

AXIS = """v=0
o=- 1188340656180883 1 IN IP4 192.168.0.90
s=Session streamed with GStreamer
i=rtsp-server
t=0 0
a=tool:GStreamer
a=type:broadcast
a=range:npt=now-
a=control:rtsp://192.168.0.90/axis-media/media.amp?videocodec=h264
m=video 0 RTP/AVP 96
c=IN IP4 0.0.0.0
b=AS:50000
a=rtpmap:96 H264/90000
a=fmtp:96 packetization-mode=1;profile-level-id=4d0029;sprop-parameter-sets=Z00AKeKQDwBE/LgLcBAQGkHiRFQ=,aO48gA==
a=ts-refclk:local
a=mediaclk:sender
a=recvonly
a=control:rtsp://192.168.0.90/axis-media/media.amp/stream=0?videocodec=h264
a=framerate:25.000000
a=transform:1.000000,0.000000,0.000000;0.000000,1.000000,0.000000;0.000000,0.000000,1.000000
m=audio 0 RTP/AVP 97
c=IN IP4 0.0.0.0
a=rtpmap:97 MPEG4-GENERIC/16000/1
a=fmtp:97 streamtype=5;profile-level-id=2;mode=AAC-hbr;config=1408;sizelength=13;indexlength=3;indexdeltalength=3
a=control:rtsp://192.168.0.90/axis-media/media.amp/stream=1?videocodec=h264
"""  # noqa: E501
HIKVISION = """v=0
o=- 1700000000000000 1700000000000000 IN IP4 192.168.1.64
s=Media Presentation
e=NONE
b=AS:5100
t=0 0
a=control:rtsp://192.168.1.64:554/Streaming/Channels/101/
m=video 0 RTP/AVP 96
c=IN IP4 0.0.0.0
b=AS:5000
a=recvonly
a=x-dimensions:1920,1080
a=control:rtsp://192.168.1.64:554/Streaming/Channels/101/trackID=1
a=rtpmap:96 H265/90000
a=fmtp:96 profile-space=0; sprop-vps=QAEMAf//AWAAAAMAsAAAAwAAAwB7rAk=; sprop-sps=QgEBAWAAAAMA; sprop-pps=RAHA8vA8kA==
m=audio 0 RTP/AVP 0
c=IN IP4 0.0.0.0
b=AS:50
a=recvonly
a=control:rtsp://192.168.1.64:554/Streaming/Channels/101/trackID=2
a=Media_header:MEDIAINFO=494D4B48010300000400000111710110401F000000FA000000000000000000000000000000000000;
a=appversion:1.0
"""  # noqa: E501
DAHUA = """v=0
o=- 2252310609 2252310609 IN IP4 0.0.0.0
s=Media Server
c=IN IP4 0.0.0.0
t=0 0
a=control:*
a=packetization-supported:DH
a=rtppayload-supported:DH
a=range:npt=now-
m=video 0 RTP/AVP 96
a=control:trackID=0
a=framerate:20.000000
a=rtpmap:96 H264/90000
a=fmtp:96 packetization-mode=1;profile-level-id=640033;sprop-parameter-sets=Z2QAM6wVFKAoAPGQ,aO48sA==
a=recvonly
m=audio 0 RTP/AVP 8
a=control:trackID=1
a=rtpmap:8 PCMA/8000
a=recvonly
m=application 0 RTP/AVP 107
a=control:trackID=4
a=rtpmap:107 vnd.onvif.metadata/90000
a=recvonly
"""
LIVE555 = """v=0
o=- 1700000000 1 IN IP4 10.0.0.5
s=H.264 Video, streamed by the LIVE555 Media Server
i=test.264
t=0 0
a=tool:LIVE555 Streaming Media v2023.11.30
a=type:broadcast
a=control:*
a=range:npt=0-
m=video 0 RTP/AVP 96
c=IN IP4 0.0.0.0
b=AS:500
a=rtpmap:96 H264/90000
a=fmtp:96 packetization-mode=1;profile-level-id=42C01E;sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg==
a=control:track1
"""  # noqa: E501


def _known(text: str) -> list[tuple[str, int, str, int, str, str]]:
    return [(m.kind, m.payload_type, m.encoding, m.clock_hz, m.channels, m.control) for m in medias_of(text)]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_axis_with_addresses_and_queries_as_controls(line_end: str) -> None:
    text = AXIS.replace("\n", line_end)
    base = "rtsp://192.168.0.90/axis-media/media.amp/"
    assert _known(text) == [
        ("video", 96, "H264", 90_000, "", f"{base}stream=0?videocodec=h264"),
        ("audio", 97, "MPEG4-GENERIC", 16_000, "/1", f"{base}stream=1?videocodec=h264"),
    ]
    video, sound = medias_of(text)
    assert video.fmtp["sprop-parameter-sets"] == "Z00AKeKQDwBE/LgLcBAQGkHiRFQ=,aO48gA=="
    assert video.fmtp["packetization-mode"] == "1"
    assert (sound.fmtp["mode"], sound.fmtp["config"], sound.fmtp["sizelength"]) == ("AAC-hbr", "1408", "13")


def test_hikvision_with_spaces_between_parameters_and_sound_that_has_no_name() -> None:
    base = "rtsp://192.168.1.64:554/Streaming/Channels/101/"
    assert _known(HIKVISION) == [
        ("video", 96, "H265", 90_000, "", f"{base}trackID=1"),
        ("audio", 0, "PCMU", 8000, "", f"{base}trackID=2"),
    ]
    assert medias_of(HIKVISION)[0].fmtp == {
        "profile-space": "0",
        "sprop-vps": "QAEMAf//AWAAAAMAsAAAAwAAAwB7rAk=",
        "sprop-sps": "QgEBAWAAAAMA",
        "sprop-pps": "RAHA8vA8kA==",
    }


def test_dahua_with_relative_controls_and_a_stream_of_metadata() -> None:
    assert _known(DAHUA) == [
        ("video", 96, "H264", 90_000, "", "trackID=0"),
        ("audio", 8, "PCMA", 8000, "", "trackID=1"),
        ("application", 107, "VND.ONVIF.METADATA", 90_000, "", "trackID=4"),
    ]


def test_live555_with_one_stream() -> None:
    assert _known(LIVE555) == [("video", 96, "H264", 90_000, "", "track1")]


def test_attributes_with_other_spacing_and_case() -> None:
    text = (
        "m=video 0 RTP/AVP 96\na=rtpmap: 96 h264/90000\na=fmtp:96  Packetization-Mode = 1; flag ;;X=\n"
        "a=control: trackID=1 "
    )
    [media] = medias_of(text)
    assert (media.encoding, media.control) == ("H264", "trackID=1")
    assert {name.strip(): value for name, value in media.fmtp.items()} == {
        "packetization-mode": "1",
        "flag": "",
        "x": "",
    }


def test_attributes_of_another_payload_type_and_before_any_stream_are_passed_by() -> None:
    text = "a=control:*\na=rtpmap:96 H265/1\nm=video 0 RTP/AVP 96 97\na=rtpmap:97 H265/1\na=fmtp:97 a=b\n"
    assert medias_of(text) == [Media("video", 96)]


@pytest.mark.parametrize("number", ["", "-5", "x", "\u0669\u0666", "9" * 5000])
def test_a_stream_without_a_sensible_payload_type_takes_no_attributes(number: str) -> None:
    text = f"m=video 0 RTP/AVP {number}\na=rtpmap:{number} H264/90000\na=fmtp:{number} a=b"
    assert medias_of(text) == [Media("video", -1)]


@pytest.mark.parametrize("rate", ["", "0", "-90000", "1e9", "9" * 5000])
def test_a_clock_that_makes_no_sense_is_the_usual_one(rate: str) -> None:
    [media] = medias_of(f"m=video 0 RTP/AVP 96\na=rtpmap:96 H264/{rate}")
    assert (media.encoding, media.clock_hz) == ("H264", 90_000)


@pytest.mark.parametrize(
    ("base", "control", "joined"),
    [
        ("rtsp://h/a", "trackID=1", "rtsp://h/a/trackID=1"),
        ("rtsp://h/a/", "trackID=1", "rtsp://h/a/trackID=1"),
        ("rtsp://h/a", "", "rtsp://h/a"),
        ("rtsp://h/a", "*", "rtsp://h/a"),
        ("rtsp://h/a", "rtsp://h/b/track1", "rtsp://h/b/track1"),
        ("rtsp://h/a", "RTSP://h/b", "RTSP://h/b"),
        ("rtsps://h/a", "rtsps://h/b", "rtsps://h/b"),
        ("rtsp://h/cam/realmonitor?channel=1&subtype=0", "trackID=0",
         "rtsp://h/cam/realmonitor?channel=1&subtype=0/trackID=0"),
        ("rtsp://h/cam?channel=1/", "trackID=0", "rtsp://h/cam?channel=1/trackID=0"),
        ("rtsp://h/a", "http://h/b", "rtsp://h/a/http://h/b"),
    ],
)  # fmt: skip
def test_where_a_stream_is_set_up(base: str, control: str, joined: str) -> None:
    assert control_url(base, control) == joined


lines = st.text(st.characters(codec="utf-8"), max_size=30)
attributes = st.builds(
    "{}{}".format,
    st.sampled_from(
        ["m=", "m=video 0 RTP/AVP 96", "a=rtpmap:96", "a=rtpmap:96 ", "a=fmtp:96 ", "a=control:"]
    ),
    lines,
)


@given(st.lists(lines | attributes, max_size=12).map("\n".join))
def test_any_text_is_read_and_its_streams_round_trip(text: str) -> None:
    found = medias_of(text)
    again = medias_of(description_of(found))
    assert len(again) == len(found)
    for media, copy in zip(found, again, strict=True):
        assert media.clock_hz > 0
        assert (copy.payload_type, copy.clock_hz) == (media.payload_type, media.clock_hz)


words = st.text(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-+/=,._", min_size=1, max_size=20
)
keys = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12)
described = st.builds(
    Media,
    st.sampled_from(["video", "audio"]),
    st.integers(0, 127),
    st.sampled_from(["H264", "H265", "MPEG4-GENERIC"]),
    st.integers(1, 192_000),
    st.sampled_from(["", "/1", "/2"]),
    st.dictionaries(keys, words | st.just(""), max_size=6),
)


@given(st.lists(described, max_size=4))
def test_what_we_describe_is_read_as_it_was(medias: list[Media]) -> None:
    assert medias_of(description_of(medias)) == medias


@pytest.mark.parametrize("text", [AXIS, HIKVISION, DAHUA, LIVE555])
def test_a_camera_s_streams_described_anew_lose_nothing_that_decoding_needs(text: str) -> None:
    for media in medias_of(text):
        control, media.control = media.control, ""
        assert control
        assert medias_of(description_of([media])) == [media]
