import struct

from hypothesis import given
from hypothesis import strategies as st
from understudy_recording_server.rtsp.g711 import G711Frames
from understudy_recording_server.rtsp.sound import Sound

WRAP = 1 << 32


def packet(payload: bytes, timestamp: int, payload_type: int = 0) -> bytes:
    return struct.pack(">BBHII", 0x80, payload_type, timestamp // 160 % 65536, timestamp % WRAP, 5) + payload


def test_each_packet_is_a_frame_of_as_many_samples_as_bytes() -> None:
    frames = G711Frames(0, 1)
    begun = WRAP - 160
    found = [
        one for at in (begun, begun + 160, begun + 800) for one in frames.take(packet(b"\x7f" * 160, at))
    ]
    assert found == [Sound(b"\x7f" * 160, at, 160) for at in (begun, begun + 160, begun + 800)]


def test_of_two_channels_each_sample_has_two_bytes() -> None:
    assert G711Frames(8, 2).take(packet(b"abcde", 0, 8)) == [Sound(b"abcd", 0, 2)]
    assert G711Frames(8, 2).take(packet(b"a", 0, 8)) == []


@given(st.binary(max_size=40), st.integers(1, 3))
def test_whatever_comes_is_sound_or_nothing(data: bytes, channels: int) -> None:
    for found in G711Frames(0, channels).take(data):
        assert len(found.data) == found.samples * channels > 0
