import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_recording_server.rtsp.aac import AacFrames
from understudy_recording_server.rtsp.access_units import Unsuited
from understudy_recording_server.rtsp.sound import Sound

PT = 97
WRAP = 1 << 32
HBR = {"mode": "AAC-hbr", "sizelength": "13", "indexlength": "3", "indexdeltalength": "3"}
LBR = {"mode": "AAC-lbr", "sizelength": "6", "indexlength": "2", "indexdeltalength": "2"}


def _headers(sizes: list[int], parameters: dict[str, str]) -> bytes:
    """RFC 3640, 3.2.1: their length in bits, then size and index of each frame."""
    size_bits, index_bits = int(parameters["sizelength"]), int(parameters["indexlength"])
    width = (size_bits + index_bits) // 8
    return struct.pack(">H", 8 * width * len(sizes)) + b"".join(
        (size << index_bits).to_bytes(width, "big") for size in sizes
    )


def _packet(
    payload: bytes, sequence: int, timestamp: int, *, marker: bool = True, payload_type: int = PT
) -> bytes:
    kind = payload_type | (0x80 if marker else 0)
    return struct.pack(">BBHII", 0x80, kind, sequence % 65536, timestamp % WRAP, 5) + payload


def _whole(frames: list[bytes], sequence: int, timestamp: int, parameters: dict[str, str] = HBR) -> bytes:
    return _packet(_headers([len(one) for one in frames], parameters) + b"".join(frames), sequence, timestamp)


def _in_fragments(frame: bytes, parts: int, sequence: int, timestamp: int) -> list[bytes]:
    size = -(-len(frame) // parts)
    pieces = [frame[at : at + size] for at in range(0, len(frame), size)]
    return [
        _packet(_headers([len(frame)], HBR) + piece, sequence + n, timestamp, marker=n == len(pieces) - 1)
        for n, piece in enumerate(pieces)
    ]


def _taken(frames: AacFrames, packets: list[bytes]) -> list[Sound]:
    return [sound for packet in packets for sound in frames.take(packet)]


@given(
    st.sampled_from([(HBR, 8191), (LBR, 63)]),
    st.lists(st.integers(1, 6), min_size=1, max_size=8),
    st.sampled_from([0, 65_534]),
    st.sampled_from([0, WRAP - 3000]),
    st.integers(0, 1 << 32),
)
def test_frames_come_out_as_they_were(
    shape: tuple[dict[str, str], int], counts: list[int], sequence: int, first: int, seed: int
) -> None:
    parameters, largest = shape
    chance, frames = random.Random(seed), AacFrames(PT, parameters)
    timestamp = first
    for number, count in enumerate(counts):
        sent = [chance.randbytes(chance.choice([1, 20, largest])) for _ in range(count)]
        found = frames.take(_whole(sent, sequence + number, timestamp, parameters))
        assert [sound.data for sound in found] == sent
        assert [sound.timestamp for sound in found] == [timestamp + 1024 * n for n in range(count)]
        assert {sound.samples for sound in found} == {1024}
        timestamp += 1024 * count


@pytest.mark.parametrize("samples", [480, 512, 960, 1024, 1920, 2048])
@pytest.mark.parametrize("count", [1, 3])
def test_how_long_a_frame_is_is_learnt_from_the_second_packet(samples: int, count: int) -> None:
    frames = AacFrames(PT, HBR)
    sent = [b"frame"] * count
    for number in range(3):
        found = frames.take(_whole(sent, number, WRAP - 100 + number * samples * count))
        expected = 1024 if number == 0 else samples
        assert [sound.samples for sound in found] == [expected] * count
        start = WRAP - 100 + number * samples * count
        assert [sound.timestamp for sound in found] == [start + expected * n for n in range(count)]


@pytest.mark.parametrize("step", [0, -1024, 1, 1023, 5000, 90_000])
def test_a_step_that_no_frame_has_teaches_nothing(step: int) -> None:
    frames = AacFrames(PT, HBR)
    frames.take(_whole([b"frame"], 0, 100_000))
    [sound] = frames.take(_whole([b"frame"], 1, 100_000 + step))
    assert (sound.samples, sound.timestamp) == (1024, 100_000 + step)


@pytest.mark.parametrize("count", [1, 2])
def test_a_missing_packet_teaches_nothing(count: int) -> None:
    frames = AacFrames(PT, HBR)
    frames.take(_whole([b"frame"] * count, 0, 0))
    found = frames.take(_whole([b"frame"] * count, 2, 2 * 1024 * count))
    assert [sound.samples for sound in found] == [1024] * count
    assert [sound.timestamp for sound in found] == [1024 * (2 * count + n) for n in range(count)]


def test_a_frame_in_fragments_between_two_others_teaches_nothing() -> None:
    frames = AacFrames(PT, HBR)
    packets = [_whole([b"frame"], 0, 0), *_in_fragments(bytes(3000), 3, 1, 1024), _whole([b"frame"], 4, 2048)]
    assert [sound.samples for sound in _taken(frames, packets)] == [1024, 1024, 1024]


@pytest.mark.parametrize("parts", [2, 3, 7])
def test_a_frame_in_fragments_is_put_together(parts: int) -> None:
    frames, frame = AacFrames(PT, HBR), random.Random(1).randbytes(5000)
    found = _taken(frames, _in_fragments(frame, parts, 65_533, 1000))
    assert [(sound.data, sound.timestamp) for sound in found] == [(frame, 1000)]
    [behind] = frames.take(_whole([b"next"], 65_533 + parts, 2024))
    assert (behind.data, behind.timestamp) == (b"next", 2024)


@given(st.integers(2, 6), st.integers(1, 6), st.sets(st.integers(0, 35), min_size=1))
def test_with_packets_missing_only_whole_frames_come_out(parts: int, count: int, lost: set[int]) -> None:
    chance, sent, packets = random.Random(parts), [], []
    for number in range(count):
        frame = chance.randbytes(600)
        sent.append(frame)
        packets += _in_fragments(frame, parts, len(packets), 1024 * number)
    found = _taken(AacFrames(PT, HBR), [packet for n, packet in enumerate(packets) if n not in lost])
    whole = [n for n in range(count) if not lost & set(range(parts * n, parts * (n + 1)))]
    assert [sound.data for sound in found] == [sent[n] for n in whole]
    assert len(found) < count or min(lost) >= len(packets)


def test_a_frame_that_claims_more_than_comes_is_left_out() -> None:
    frames = AacFrames(PT, HBR)
    assert not frames.take(_packet(_headers([500], HBR) + b"short", 0, 0))
    found = frames.take(_packet(_headers([3, 500], HBR) + b"oneshort", 1, 1024))
    assert [sound.data for sound in found] == [b"one"]
    found = frames.take(_packet(_headers([3, 0, 3], HBR) + b"onetwo", 2, 2048))
    assert [sound.data for sound in found] == [b"one"]
    assert [sound.data for sound in frames.take(_whole([b"next"], 3, 3072))] == [b"next"]


def test_a_fragment_that_goes_on_and_on_is_given_up() -> None:
    frames = AacFrames(PT, HBR)
    for number in range(300):
        packet = _packet(_headers([8191], HBR) + bytes(1000), number, 0, marker=False)
        assert not frames.take(packet)
        assert len(frames._begun) <= 1 << 16
    assert [sound.data for sound in frames.take(_whole([b"next"], 400, 1024))] == [b"next"]


def test_packets_of_another_payload_type_are_passed_by() -> None:
    assert not AacFrames(PT, HBR).take(_packet(_headers([4], HBR) + b"next", 0, 0, payload_type=96))


@pytest.mark.parametrize(
    "change",
    [
        {"sizelength": "12"},
        {"sizelength": "0", "indexlength": "16", "indexdeltalength": "16"},
        {"indexdeltalength": "2"},
        {"sizelength": "thirteen"},
        {"sizelength": ""},
        {"sizelength": "9" * 5000},
        {"sizelength": "29"},
        {"sizelength": "-3", "indexlength": "19", "indexdeltalength": "19"},
        {"sizelength": "20", "indexlength": "-4", "indexdeltalength": "-4"},
        {"ctsdeltalength": "4"},
        {"dtsdeltalength": "4"},
        {"randomaccessindication": "1"},
        {"streamstateindication": "1"},
        {"auxiliarydatasizelength": "8"},
    ],
)
def test_headers_of_another_shape_are_unsuited(change: dict[str, str]) -> None:
    with pytest.raises(Unsuited):
        AacFrames(PT, {**HBR, **change})


def test_without_any_description_of_headers_it_is_unsuited() -> None:
    with pytest.raises(Unsuited):
        AacFrames(PT, {})


def test_further_fields_of_no_bits_are_no_matter() -> None:
    further = {"ctsdeltalength": "0", "streamstateindication": "0", "profile-level-id": "1"}
    assert AacFrames(PT, {**HBR, **further}).take(_whole([b"one"], 0, 0))


payloads = st.binary(max_size=40) | st.builds(
    lambda bits, rest: struct.pack(">H", bits) + rest, st.integers(0, 80), st.binary(max_size=40)
)
any_packets = st.lists(
    st.binary(max_size=30)
    | st.builds(_packet, payloads, st.integers(0, 5), st.integers(0, 9), marker=st.booleans()),
    max_size=20,
)


@given(st.sampled_from([HBR, LBR]), any_packets)
def test_any_bytes_are_taken(parameters: dict[str, str], packets: list[bytes]) -> None:
    for sound in _taken(AacFrames(PT, parameters), packets):
        assert sound.data
