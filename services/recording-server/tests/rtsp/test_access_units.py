from __future__ import annotations

import contextlib
import random
import struct
import tracemalloc
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_lab.cameras import rtp as lab_rtp
from understudy_recording_server.rtsp import access_units
from understudy_recording_server.rtsp.access_units import (
    LARGEST_FRAME_BYTES,
    START_CODE,
    AccessUnit,
    AccessUnits,
    FrameTooLarge,
    Unsuited,
)

PT = 96
WRAP = 1 << 32


@dataclass(frozen=True)
class Codec:
    """What the standards say, independently of the code: RFC 6184, 5.2; RFC 7798, 4.4."""

    name: str
    aggregate: int
    fragment: int
    slices: tuple[int, ...]
    keys: tuple[int, ...]
    others: tuple[int, ...]

    def header(self, kind: int, low: int) -> bytes:
        """Of a unit; `low`: what else it holds (reference bits, or layer and temporal layer)."""
        if self.name == "h264":
            return bytes([(low & 3) << 5 | kind])
        return bytes([kind << 1 | low & 1, (low & 6) << 2 | 1])

    def kind(self, header: bytes) -> int:
        return header[0] & 31 if self.name == "h264" else header[0] >> 1 & 63

    @property
    def header_bytes(self) -> int:
        return 1 if self.name == "h264" else 2


H264 = Codec("h264", 24, 28, (1,), (5,), (6, 7, 8, 9))
H265 = Codec("hevc", 48, 49, (0, 1, 9), (16, 19, 20, 21), (32, 33, 34, 35, 39))
CODECS = [H264, H265]


@dataclass
class Frame:
    units: list[bytes]
    is_key: bool
    timestamp: int
    """Does not wrap."""
    sent: list[int] = field(default_factory=list)
    """Which of the packets are its own."""
    leading: int = 0
    """How many units come before the picture."""

    @property
    def data(self) -> bytes:
        return b"".join(START_CODE + unit for unit in self.units)


def _rtp(payload: bytes, sequence: int, timestamp: int, *, marker: bool = False, kind: int = PT) -> bytes:
    return struct.pack(">BBHII", 0x80, marker << 7 | kind, sequence % 65536, timestamp % WRAP, 77) + payload


def _decorated(packet: bytes, chance: random.Random) -> bytes:
    """The same with contributing sources, an extension or padding."""
    first = packet[0]
    extra, tail = b"", b""
    if chance.random() < 0.5:
        sources = chance.randint(1, 15)
        first |= sources
        extra += bytes(4 * sources)
    if chance.random() < 0.5:
        first |= 0x10
        extra += b"\xbe\xde\x00\x01abcd"
    if chance.random() < 0.5:
        first |= 0x20
        tail = b"\x00\x00\x03"
    return bytes([first]) + packet[1:12] + extra + packet[12:] + tail


def _slice(codec: Codec, kind: int, size: int, chance: random.Random, *, is_first: bool) -> bytes:
    body = bytearray(chance.randbytes(max(6, size)))  # so many that no two are alike
    # first_mb_in_slice is 0 (H.264, 7.3.3), first_slice_segment_in_pic_flag (H.265, 7.3.6.1).
    body[0] = body[0] | 0x80 if is_first else body[0] & 0x7F
    return codec.header(kind, chance.randint(0, 7)) + bytes(body)


def _message(largest: int, chance: random.Random) -> bytes:
    """What an SEI unit may hold, to its end: something of a user's (type 5), and so no recovery point."""
    size = chance.randint(1, largest)
    return b"\x05" + b"\xff" * (size // 255) + bytes([size % 255]) + chance.randbytes(size)


def _frame(codec: Codec, timestamp: int, largest: int, chance: random.Random) -> Frame:
    leading, slices = chance.randint(0, 3), chance.randint(1, 3)
    is_key = chance.random() < 0.3
    units = [
        codec.header(chance.choice(codec.others), chance.randint(0, 7)) + _message(largest, chance)
        for _ in range(leading)
    ]
    for number in range(slices):
        kind = chance.choice(codec.keys if is_key else codec.slices)
        units.append(_slice(codec, kind, chance.randint(1, largest), chance, is_first=number == 0))
    return Frame(units, is_key, timestamp, [], leading)


def _fragments(codec: Codec, unit: bytes, most: int, *, with_end: bool) -> list[bytes]:
    size, skipped = most - codec.header_bytes - 1, codec.header_bytes
    parts = [unit[at : at + size] for at in range(skipped, len(unit), size)]
    if codec.name == "h264":
        indicator = bytes([unit[0] & 0xE0 | codec.fragment])
    else:
        indicator = bytes([unit[0] & 0x81 | codec.fragment << 1, unit[1]])
    last = len(parts) - 1
    return [
        indicator
        + bytes([codec.kind(unit) | (0x80 if n == 0 else 0) | (0x40 if n == last and with_end else 0)])
        + part
        for n, part in enumerate(parts)
    ]


def _aggregate(codec: Codec, units: list[bytes]) -> bytes:
    return codec.header(codec.aggregate, 3) + b"".join(struct.pack(">H", len(unit)) + unit for unit in units)


def _payloads(codec: Codec, units: list[bytes], most: int, chance: random.Random) -> list[bytes]:
    """One frame's, in packets of `most` bytes, aggregated by chance where they fit."""
    found: list[bytes] = []
    waiting: list[bytes] = []

    def flush() -> None:
        if len(waiting) == 1 and chance.random() < 0.8:
            found.append(waiting[0])
        elif waiting:
            found.append(_aggregate(codec, waiting))
        waiting.clear()

    for unit in units:
        if chance.random() < 0.5 or len(_aggregate(codec, [*waiting, unit])) > most:
            flush()
        if len(_aggregate(codec, [unit])) <= most:
            waiting.append(unit)
        elif len(unit) <= most:
            found.append(unit)
        else:
            found += _fragments(codec, unit, most, with_end=chance.random() < 0.7)
    flush()
    return found


def _sent(codec: Codec, most: int, seed: int, *, markers: bool) -> tuple[list[Frame], list[bytes]]:
    """A stream's frames, and all of its packets."""
    chance = random.Random(seed)
    sequence = chance.choice([0, 65_530, chance.randrange(65_536)])
    timestamp = chance.choice([0, WRAP - 5000, chance.randrange(WRAP)])
    frames, packets = [], []
    for _ in range(chance.randint(1, 8)):
        frame = _frame(codec, timestamp, chance.choice([2, most, 6 * most]), chance)
        payloads = _payloads(codec, frame.units, most, chance)
        for number, payload in enumerate(payloads):
            marker = markers and number == len(payloads) - 1
            packet = _rtp(payload, sequence + len(packets), timestamp, marker=marker)
            frame.sent.append(len(packets))
            packets.append(_decorated(packet, chance) if chance.random() < 0.05 else packet)
        frames.append(frame)
        timestamp += chance.choice([1, 3600, 3600, -1800, 900_000])
        timestamp += timestamp < 0
    return frames, packets


def _taken(units: AccessUnits, packets: list[bytes]) -> list[AccessUnit]:
    return [unit for packet in packets for unit in units.take(packet)]


streams = given(
    st.sampled_from(CODECS),
    st.integers(8, 60) | st.integers(61, 1500),
    st.integers(0, 1 << 32),
    st.booleans(),
)


@streams
def test_frames_come_out_as_they_were_however_they_are_packed(
    codec: Codec, most: int, seed: int, markers: bool
) -> None:
    frames, packets = _sent(codec, most, seed, markers=markers)
    units = AccessUnits(codec.name, PT)
    found = _taken(units, packets)
    expected = frames if markers else frames[:-1]
    assert [one.data for one in found] == [frame.data for frame in expected]
    assert [one.is_key for one in found] == [frame.is_key for frame in expected]
    assert [one.timestamp for one in found] == [frame.timestamp for frame in expected]
    assert units.damaged == 0


def _spoilt(count: int, chance: random.Random, *, reorder: bool) -> list[int]:
    """The numbers of `count` packets as they arrive: some are lost; `reorder`: some also twice or late."""
    arrived = [number for number in range(count) if chance.random() > chance.choice([0.05, 0.3])]
    if reorder:
        for _ in range(chance.randint(1, 4)):
            number = chance.choice(arrived) if arrived else 0
            arrived.insert(chance.randint(0, len(arrived)), number)
            if chance.random() < 0.5:
                arrived.remove(number)
    return arrived


def _without_their_opening(frame: Frame) -> list[bytes]:
    """What a frame may be behind a gap: all of its picture, but not all that comes before."""
    return [
        b"".join(START_CODE + unit for unit in frame.units[skipped:]) for skipped in range(frame.leading + 1)
    ]


@streams
def test_of_lost_packets_only_whole_pictures_are_left(
    codec: Codec, most: int, seed: int, markers: bool
) -> None:
    frames, packets = _sent(codec, most, seed, markers=markers)
    arrived = _spoilt(len(packets), random.Random(seed), reorder=False)
    found = _taken(AccessUnits(codec.name, PT), [packets[number] for number in arrived])
    for one in found:
        frame = next((frame for frame in frames if one.data in _without_their_opening(frame)), None)
        assert frame is not None
        assert (one.is_key, one.timestamp % WRAP) == (frame.is_key, frame.timestamp % WRAP)
        if one.data != frame.data:
            assert frame.sent[0] not in arrived
    data = [one.data for one in found]
    if markers:
        whole = [frame.data for frame in frames if set(frame.sent) <= set(arrived)]
        assert [one for one in data if one in whole] == whole


@streams
def test_of_packets_in_disorder_only_whole_pictures_are_left(
    codec: Codec, most: int, seed: int, markers: bool
) -> None:
    frames, packets = _sent(codec, most, seed, markers=markers)
    arrived = _spoilt(len(packets), random.Random(seed), reorder=True)
    allowed = {data for frame in frames for data in _without_their_opening(frame)}
    for one in _taken(AccessUnits(codec.name, PT), [packets[number] for number in arrived]):
        assert one.data in allowed


@pytest.mark.parametrize("codec", CODECS)
def test_a_key_frame_behind_a_gap_is_taken_and_the_rest_of_a_frame_is_not(codec: Codec) -> None:
    chance = random.Random(1)
    key = _slice(codec, codec.keys[0], 50, chance, is_first=True)
    rest = _slice(codec, codec.keys[0], 50, chance, is_first=False)
    opening = codec.header(codec.others[1], 0) + b"set"
    units = AccessUnits(codec.name, PT)
    assert not units.take(_rtp(rest, 1, 1, marker=True))  # The first packet of all is within a frame.
    assert len(units.take(_rtp(key, 2, 2, marker=True))) == 1
    assert not units.take(_rtp(rest, 4, 3, marker=True))
    [frame] = _taken(units, [_rtp(opening, 9, 4), _rtp(key, 10, 4), _rtp(rest, 11, 4, marker=True)])
    assert frame.data == b"".join(START_CODE + unit for unit in (opening, key, rest))
    assert not units.take(_rtp(codec.header(codec.slices[0], 0), 13, 5, marker=True))  # nothing in it


def test_without_a_marker_a_frame_is_whole_when_the_next_one_begins() -> None:
    units = AccessUnits("h264", PT)
    assert not units.take(_rtp(b"\x65\x80key", 1, 100))
    assert not units.take(_rtp(b"\x65\x00key", 2, 100))
    [frame] = units.take(_rtp(b"\x41\x80more", 3, 200, marker=False))
    assert (frame.data, frame.timestamp) == (START_CODE + b"\x65\x80key" + START_CODE + b"\x65\x00key", 100)
    [frame] = units.take(_rtp(b"\x41\x80more", 4, 300))
    assert frame.timestamp == 200


def test_one_packet_may_end_two_frames() -> None:
    units = AccessUnits("h264", PT)
    units.take(_rtp(b"\x65\x80key", 1, 100))
    found = units.take(_rtp(b"\x41\x80more", 2, 200, marker=True))
    assert [(one.timestamp, one.is_key) for one in found] == [(100, True), (200, False)]


def test_parameter_sets_that_come_by_themselves_go_to_the_frame_behind() -> None:
    units = AccessUnits("h264", PT)
    assert not units.take(_rtp(b"\x67sps", 1, 50, marker=True))
    assert not units.take(_rtp(b"\x68pps", 2, 60, marker=True))
    [frame] = units.take(_rtp(b"\x65\x80key", 3, 100, marker=True))
    assert frame.data == START_CODE + b"\x67sps" + START_CODE + b"\x68pps" + START_CODE + b"\x65\x80key"
    assert frame.timestamp == 100
    assert units.damaged == 0


@pytest.mark.parametrize(
    ("codec", "unit", "is_key"),
    [(H264, H264.header(kind, 3), kind == 5) for kind in (1, 2, 5)]
    + [(H265, H265.header(kind, 0), 16 <= kind < 24) for kind in range(32)],
)
def test_key_pictures_are_told_by_their_type(codec: Codec, unit: bytes, is_key: bool) -> None:
    units = AccessUnits(codec.name, PT)
    [frame] = units.take(_rtp(unit + b"\x80data", 1, 1, marker=True))
    assert frame.is_key == is_key


@pytest.mark.parametrize(
    ("sei", "is_key"),
    [(b"\x06\x06\x01\xc4\x80", True), (b"\x06\x05\x06\x06\x80", False), (b"\x06\x06", False)],
)
@pytest.mark.parametrize("aggregated", [True, False])
def test_a_recovery_point_makes_a_key_frame(sei: bytes, is_key: bool, aggregated: bool) -> None:
    units = AccessUnits("h264", PT)
    picture = b"\x41\x80data"
    if aggregated:
        found = units.take(_rtp(_aggregate(H264, [sei, picture]), 1, 1, marker=True))
    else:
        units.take(_rtp(sei, 1, 1))
        found = units.take(_rtp(picture, 2, 1, marker=True))
    assert [one.is_key for one in found] == [is_key]
    [plain] = units.take(_rtp(picture, 3, 2, marker=True))
    assert not plain.is_key


@pytest.mark.parametrize("size", [10, 1388, 1389, 5000, 100_000])
def test_what_the_lab_s_cameras_send_is_read(size: int) -> None:
    nal = b"\x65\x88" + random.Random(size).randbytes(size - 2)
    payloads = lab_rtp.fragments(nal)
    packets = [_rtp(p, n, 9, marker=n == len(payloads) - 1) for n, p in enumerate(payloads)]
    [frame] = _taken(AccessUnits("h264", PT), packets)
    assert (frame.data, frame.is_key) == (START_CODE + nal, True)


def test_units_without_a_byte_and_a_short_rest_in_an_aggregate_are_passed_by() -> None:
    payload = _aggregate(H264, [b"", b"\x65\x80key", b""]) + b"\x00"
    [frame] = AccessUnits("h264", PT).take(_rtp(payload, 1, 1, marker=True))
    assert frame.data == START_CODE + b"\x65\x80key"


def test_an_aggregate_that_is_cut_off_leaves_its_frame_out() -> None:
    units = AccessUnits("h264", PT)
    assert not units.take(_rtp(_aggregate(H264, [b"\x65\x80key", b"\x65\x00more"])[:-1], 1, 1, marker=True))
    assert units.damaged == 1
    assert len(units.take(_rtp(b"\x41\x80data", 2, 2, marker=True))) == 1


def _long_unit(codec: Codec, packets: int) -> tuple[bytes, list[bytes]]:
    unit = _slice(codec, codec.keys[0], 100 * packets - 2, random.Random(5), is_first=True)
    return unit, _fragments(codec, unit, 100 + codec.header_bytes + 1, with_end=True)


def _counting_slow_packets(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every packet that does not go the short way is looked at as a whole: this notes them."""
    seen: list[bytes] = []
    bounds = access_units.payload_bounds
    monkeypatch.setattr(access_units, "payload_bounds", lambda packet: seen.append(packet) or bounds(packet))
    return seen


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("start", [0, 65_500])
def test_the_middle_of_a_unit_in_fragments_goes_the_short_way(
    codec: Codec, start: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = _counting_slow_packets(monkeypatch)
    unit, payloads = _long_unit(codec, 100)
    packets = [_rtp(p, start + n, 7, marker=n == 99) for n, p in enumerate(payloads)]
    [frame] = _taken(AccessUnits(codec.name, PT), packets)
    assert frame.data == START_CODE + unit
    assert seen[0] == packets[0]
    assert seen[-1] == packets[-1]
    assert len(seen) == 2


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    "change",
    [
        lambda p: p[:2] + struct.pack(">H", 3) + p[4:],  # the sequence skips one
        lambda p: p[:2] + struct.pack(">H", 1) + p[4:],  # it came before
    ],
)
def test_a_packet_that_only_resembles_the_next_part_spoils_the_frame(codec: Codec, change: object) -> None:
    _, payloads = _long_unit(codec, 6)
    packets = [_rtp(p, n, 7, marker=n == 5) for n, p in enumerate(payloads)]
    packets[2] = change(packets[2])  # type: ignore[operator]
    units = AccessUnits(codec.name, PT)
    assert _taken(units, packets) == []
    assert units.damaged == 1


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    "change",
    [
        lambda p: p[:1] + bytes([97]) + p[2:],  # another payload type
        lambda p: p[:1] + bytes([95 | 0x80]) + p[2:],
        lambda p: b"\x40" + p[1:],  # another version
    ],
)
def test_a_packet_of_something_else_between_the_parts_is_passed_by(codec: Codec, change: object) -> None:
    unit, payloads = _long_unit(codec, 6)
    packets = [_rtp(p, n, 7, marker=n == 5) for n, p in enumerate(payloads)]
    packets.insert(3, change(packets[3]))  # type: ignore[operator]
    assert [one.data for one in _taken(AccessUnits(codec.name, PT), packets)] == [START_CODE + unit]


@pytest.mark.parametrize("codec", CODECS)
def test_where_the_sequence_wraps_another_payload_type_is_still_another(codec: Codec) -> None:
    unit, payloads = _long_unit(codec, 6)
    packets = [_rtp(p, 65_533 + n, 7, marker=n == 5) for n, p in enumerate(payloads)]
    packets.insert(3, _rtp(payloads[1], 0, 7, kind=PT + 1))
    assert [one.data for one in _taken(AccessUnits(codec.name, PT), packets)] == [START_CODE + unit]


@pytest.mark.parametrize("codec", CODECS)
def test_a_part_behind_the_marker_does_not_get_into_any_frame(codec: Codec) -> None:
    unit, payloads = _long_unit(codec, 6)
    packets = [_rtp(p, n, 7, marker=n == 5) for n, p in enumerate(payloads)]
    units = AccessUnits(codec.name, PT)
    assert len(_taken(units, packets)) == 1
    assert not units.take(_rtp(payloads[3], 6, 7))
    again = [_rtp(p, 7 + n, 8, marker=n == 5) for n, p in enumerate(payloads)]
    assert [one.data for one in _taken(units, again)] == [START_CODE + unit]
    assert units.damaged == 1


@pytest.mark.parametrize("codec", CODECS)
def test_a_part_with_the_next_frame_s_time_does_not_get_into_any_frame(codec: Codec) -> None:
    _, payloads = _long_unit(codec, 6)
    units = AccessUnits(codec.name, PT)
    _taken(units, [_rtp(p, n, 7) for n, p in enumerate(payloads[:4])])
    units.take(_rtp(payloads[4], 4, 8))
    assert not units.take(_rtp(payloads[5], 5, 8, marker=True))
    assert units.damaged == 1


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("between", ["a unit", "an aggregate", "the unit's last part"])
def test_a_part_behind_a_whole_unit_spoils_the_frame(codec: Codec, between: str) -> None:
    _, payloads = _long_unit(codec, 6)
    whole = _slice(codec, codec.keys[0], 20, random.Random(1), is_first=False)
    unit = {"a unit": whole, "an aggregate": _aggregate(codec, [whole])}.get(between, payloads[5])
    units = AccessUnits(codec.name, PT)
    sent = [payloads[0], payloads[1], unit, payloads[2], payloads[3]]
    assert not _taken(units, [_rtp(p, n, 7, marker=n == 4) for n, p in enumerate(sent)])
    assert units.damaged == 1


@pytest.mark.parametrize(("codec", "kinds"), [(H264, (25, 26, 27, 29, 30, 31)), (H265, range(50, 64))])
def test_ways_of_sending_that_are_not_read_are_told(codec: Codec, kinds: tuple[int, ...]) -> None:
    for kind in kinds:
        units = AccessUnits(codec.name, PT)
        packets = [_rtp(codec.header(kind, 0) + b"data", sequence, 1) for sequence in range(100)]
        with pytest.raises(Unsuited):
            _taken(units, packets)


@pytest.mark.parametrize("codec", CODECS)
def test_packets_of_an_unknown_kind_or_without_payload_spoil_nothing(codec: Codec) -> None:
    unit, payloads = _long_unit(codec, 6)
    between = [codec.header(63 if codec is H265 else 30, 0) + b"data", b""]
    sent = [part for payload in payloads for part in (payload, *between)][: -len(between)]
    packets = [_rtp(part, n, 7, marker=n == len(sent) - 1) for n, part in enumerate(sent)]
    assert [one.data for one in _taken(AccessUnits(codec.name, PT), packets)] == [START_CODE + unit]


pieces = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.builds(
            _rtp,
            st.binary(max_size=12),
            st.integers(0, 3),
            st.integers(0, 2),
            marker=st.booleans(),
        ),
        st.builds(
            lambda head, rest, sequence: _rtp(head + rest, sequence, 1),
            st.sampled_from(
                [
                    b"\x7c\x85",
                    b"\x7c\x05",
                    b"\x7c\x45",
                    b"\x62\x01\x93",
                    b"\x62\x01\x13",
                    b"\x78",
                    b"\x60\x01",
                ]
            ),
            st.binary(max_size=6),
            st.integers(0, 5),
        ),
    ),
    max_size=20,
)


@given(st.sampled_from(CODECS), pieces)
def test_any_bytes_are_taken_or_told_to_be_unsuited(codec: Codec, packets: list[bytes]) -> None:
    units = AccessUnits(codec.name, PT)
    for packet in packets:
        with contextlib.suppress(Unsuited):
            for one in units.take(packet):
                assert one.data.startswith(START_CODE)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("way", ["fragments", "units", "other units"])
def test_a_frame_that_goes_on_and_on_is_given_up(codec: Codec, way: str) -> None:
    size = 60_000
    unit = codec.header(codec.others[1] if way == "other units" else codec.slices[0], 0) + bytes(size)
    begin, middle = _fragments(codec, unit, size // 2, with_end=False)[:2]
    units, taken, refused = AccessUnits(codec.name, PT), 0, False
    for number in range(2 * LARGEST_FRAME_BYTES // len(middle)):
        payload = unit if way != "fragments" else middle if number else begin
        try:
            units.take(_rtp(payload, number, number if way == "other units" else 5))
        except FrameTooLarge:
            refused = True
            break
        taken += len(payload)
    assert refused
    assert LARGEST_FRAME_BYTES * 0.95 < taken <= LARGEST_FRAME_BYTES


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("size", [0, 2])
def test_a_frame_in_ever_so_small_parts_takes_no_more_memory_than_a_large_one(
    codec: Codec, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = 1 << 16
    monkeypatch.setattr(access_units, "LARGEST_FRAME_BYTES", largest)
    unit = _slice(codec, codec.slices[0], 2, random.Random(1), is_first=True) + bytes(8)
    begin, middle = _fragments(codec, unit, codec.header_bytes + 3, with_end=False)[:2]
    middle = middle[: codec.header_bytes + 1 + size]
    units, refused = AccessUnits(codec.name, PT), False
    units.take(_rtp(begin, 0, 1))
    tracemalloc.start()
    try:
        for number in range(1, largest // 8):
            units.take(_rtp(middle, number, 1))
    except FrameTooLarge:
        refused = True
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert refused
    assert peak < 2 * largest
