from __future__ import annotations

import pytest
from av.packet import Packet
from hypothesis import given
from hypothesis import strategies as st
from understudy_recording_server.recorder.codecs.bitstream import SYNTAXES, annex_b, opening
from understudy_recording_server.recorder.splits import WATCHED, Arrived, Joiner

H264, H265 = SYNTAXES["h264"], SYNTAXES["hevc"]
SPS = b"\x67\x42\xc0\x0d\xd9\x01\x41"
PPS = b"\x68\xcb\x8c\xb2"
FIRST, LATER = b"\x65\x88\x11", b"\x65\x41\x22"
P_FIRST, P_LATER = b"\x41\x9a\x33", b"\x41\x4a\x44"


def _stream(*units: bytes) -> bytes:
    return annex_b(units)


@given(st.binary(max_size=300), st.sampled_from([H264, H265]))
def test_any_bytes_can_be_read(data: bytes, syntax) -> None:
    found = opening(data, syntax)
    assert found.slice_at is None or 0 <= found.slice_at < len(data)
    assert not (found.continues and found.slice_at is None)


# No zeros, so that neither start codes nor padding arise.
units = st.binary(min_size=4, max_size=20).map(lambda body: bytes(byte or 1 for byte in body))


@given(units, units, units)
def test_parameter_sets_before_a_slice_are_found_as_they_are(one: bytes, other: bytes, slice_: bytes) -> None:
    sps, pps = b"\x67" + one, b"\x68" + other
    data = _stream(b"\x09\xf0", sps, pps, b"\x06\x05" + one, b"\x65\x80" + slice_)
    found = opening(data, H264)
    assert found.parameters == (sps, pps)
    assert found.slice_at is not None
    assert data[found.slice_at :] == _stream(b"\x65\x80" + slice_)
    assert not found.continues


def test_the_last_of_two_sets_with_the_same_number_counts() -> None:
    newer = SPS[:4] + b"\xd9\x02\x55"
    second_pps = b"\x68\x4b\x8c\xb2"  # Number 1: another one beside number 0.
    assert opening(_stream(SPS, PPS, newer, second_pps, FIRST), H264).parameters == (newer, PPS, second_pps)


def test_parameters_of_h265() -> None:
    vps, sps, pps = b"\x40\x01\x0c\x01", b"\x42\x01\x01\x04", b"\x44\x01\xc1\x72"
    found = opening(_stream(vps, sps, pps, b"\x4e\x01\x05\x06", b"\x28\x01\xaf\x11"), H265)
    assert (found.parameters, found.continues) == ((vps, sps, pps), False)
    assert opening(_stream(vps, sps, pps, b"\x28\x01\x2f\x11"), H265).continues


def _arrived(data: bytes, dts: int | None, *, key: bool = False) -> Arrived:
    return Arrived(Packet(data), True, key, dts, dts, 0.0, 0, None)


def _bytes(frames: list[Arrived]) -> list[bytes]:
    return [bytes(frame.packet) for frame in frames]


@pytest.mark.parametrize("times", [(5, 5, 5), (None, None, 5), (None, 5, 5)])
def test_a_key_frame_in_parts_is_one_frame_without_the_repeated_sets(times) -> None:
    joiner = Joiner(H264)
    parts = [_stream(SPS, PPS, FIRST), _stream(SPS, PPS, LATER), _stream(SPS, PPS, LATER)]
    for part, time in zip(parts, times, strict=True):
        assert joiner.take(_arrived(part, time, key=True)) == []
    [whole] = joiner.take(_arrived(_stream(P_FIRST), 6))
    assert bytes(whole.packet) == _stream(SPS, PPS, FIRST, LATER, LATER)
    assert (whole.dts, whole.is_key) == (5, True)


def test_frames_with_the_same_time_that_are_whole_stay_apart() -> None:
    joiner = Joiner(H264)
    frames = [_stream(P_FIRST)] * 4
    found = [frame for data in frames for frame in joiner.take(_arrived(data, 7))]
    assert _bytes(found + joiner.rest()) == frames


def test_after_a_while_only_key_frames_wait() -> None:
    joiner = Joiner(H264)
    out = [len(joiner.take(_arrived(_stream(P_FIRST), number))) for number in range(WATCHED + 10)]
    assert out[-5:] == [1] * 5
    assert sum(out) == WATCHED + 10
    assert joiner.take(_arrived(_stream(FIRST), 1000, key=True)) == []
    assert len(joiner.take(_arrived(_stream(P_FIRST), 1001))) == 2


frames_in_parts = st.lists(st.tuples(st.booleans(), st.integers(1, 4)), min_size=1, max_size=80)


@given(frames_in_parts)
def test_nothing_is_lost_doubled_or_reordered(plan: list[tuple[bool, int]]) -> None:
    """A camera that splits frames from its first one on."""
    joiner, sent, found = Joiner(H264), [], []
    for number, (key, parts) in enumerate([(True, 2), (False, 2), *plan]):
        first, later = (FIRST, LATER) if key else (P_FIRST, P_LATER)
        mark = bytes([number + 1])
        sent.append(_stream(first + mark, *[later + mark] * (parts - 1)))
        for part in range(parts):
            data = _stream((first if part == 0 else later) + mark)
            found += joiner.take(_arrived(data, number, key=key))
    found += joiner.rest()
    assert _bytes(found) == sent
