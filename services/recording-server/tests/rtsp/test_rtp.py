import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from understudy_lab.cameras import rtp as lab_rtp
from understudy_recording_server.rtsp.rtp import (
    SenderReport,
    Unwrapped,
    payload_bounds,
    receiver_report,
    sender_report,
    signed_step,
)

WRAP = 1 << 32
HALF = 1 << 31
NTP_OF_1970 = 2_208_988_800


def _packet(
    payload: bytes, *, sources: int = 0, extension: bytes | None = None, padding: int = 0, version: int = 2
) -> bytes:
    first = version << 6 | (0x20 if padding else 0) | (0x10 if extension is not None else 0) | sources
    packet = struct.pack(">BBHII", first, 96, 7, 1234, 5678) + bytes(4 * sources)
    if extension is not None:
        packet += struct.pack(">HH", 0xABAC, len(extension) // 4) + extension
    packet += payload
    if padding:
        packet += bytes(padding - 1) + bytes([padding])
    return packet


@given(
    st.binary(min_size=1, max_size=100),
    st.integers(0, 15),
    st.none() | st.integers(0, 20).map(lambda words: b"\xee" * 4 * words),
    st.integers(0, 255),
)
def test_the_payload_is_what_lies_between_header_and_padding(
    payload: bytes, sources: int, extension: bytes | None, padding: int
) -> None:
    packet = _packet(payload, sources=sources, extension=extension, padding=padding)
    bounds = payload_bounds(packet)
    assert bounds is not None
    assert packet[bounds[0] : bounds[1]] == payload


@pytest.mark.parametrize("version", [0, 1, 3])
def test_another_version_is_no_packet(version: int) -> None:
    assert payload_bounds(_packet(b"payload", version=version)) is None


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x80",
        _packet(b""),
        _packet(b"", sources=3),
        _packet(b"", sources=15)[:50],
        _packet(b"", extension=b""),
        _packet(b"", extension=bytes(8)),
        _packet(b"1234567", extension=bytes(8))[:-8],  # longer than the packet
        _packet(b"", extension=b"")[:14],  # its own header is cut off
        _packet(b"", padding=20),
        _packet(b"abc")[:-1] + b"x",
    ],
)
def test_headers_that_leave_no_payload_are_no_packet(packet: bytes) -> None:
    if packet.endswith(b"x"):  # All of the payload and more is said to be padding.
        packet = bytes([packet[0] | 0x20]) + packet[1:]
    assert payload_bounds(packet) is None


def test_an_empty_padding_takes_nothing_off() -> None:
    packet = bytes([0xA0]) + _packet(b"abc\x00")[1:]
    assert payload_bounds(packet) == (12, 16)


@given(st.binary(max_size=80))
def test_any_bytes_have_a_payload_within_them_or_none(packet: bytes) -> None:
    bounds = payload_bounds(packet)
    if bounds is not None:
        assert 12 <= bounds[0] < bounds[1] <= len(packet)


@given(st.integers(0, WRAP - 1), st.lists(st.integers(-HALF, HALF - 1), max_size=50))
@example(WRAP - 1, [1, -1, 1, HALF - 1, HALF - 1, HALF - 1])
def test_timestamps_go_on_over_wraps_and_steps_back(first: int, steps: list[int]) -> None:
    unwrapped = Unwrapped()
    expected = first
    assert unwrapped.take(first) == first
    for step in steps:
        expected += step
        assert unwrapped.take(expected % WRAP) == expected


@given(st.integers(0, WRAP - 1), st.integers(0, WRAP - 1))
def test_the_way_from_one_timestamp_to_another_is_the_shorter_one(before: int, after: int) -> None:
    step = signed_step(before, after)
    assert (before + step) % WRAP == after
    assert -HALF <= step < HALF


@given(st.integers(0, 4_000_000_000_000), st.integers(0, WRAP - 1))
def test_a_sender_report_ties_timestamps_to_the_camera_s_clock(utc_ms: int, timestamp: int) -> None:
    seconds, ms = divmod(utc_ms, 1000)
    if seconds + NTP_OF_1970 >= WRAP:
        return  # NTP's own era ends in 2036.
    packet = struct.pack(">BBHI", 0x80, 200, 6, 99)
    packet += struct.pack(">III", seconds + NTP_OF_1970, ms * WRAP // 1000, timestamp) + bytes(8)
    report = sender_report(packet)
    assert report is not None
    assert report.timestamp == timestamp
    assert report.utc_ms == pytest.approx(utc_ms, abs=0.01)
    assert report.captured_ms(timestamp + 90_000, 90_000) == utc_ms + 1000
    assert report.captured_ms(timestamp - 45_000, 90_000) == utc_ms - 500


def test_times_behind_a_wrap_are_told_by_a_report_before_it() -> None:
    report = SenderReport(1_000_000.0, WRAP - 90_000)
    assert report.captured_ms(WRAP + 90_000, 90_000) == 1_002_000
    assert report.captured_ms(90_000, 90_000) == 1_002_000
    assert report.captured_ms(7 * WRAP + 90_000, 90_000) == 1_002_000


def test_the_lab_s_reports_are_read() -> None:
    packet = lab_rtp.sender_report(1_700_000_000.25, 4_000_000_000, 5, 6, 7)[lab_rtp.INTERLEAVED_HEADER :]
    report = sender_report(packet)
    assert report is not None
    assert report.utc_ms == pytest.approx(1_700_000_000_250, abs=0.01)
    assert report.timestamp == 4_000_000_000


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        struct.pack(">BBHIQI", 0x80, 200, 6, 1, 1 << 60, 5)[:-1],
        struct.pack(">BBHIQI", 0x80, 201, 6, 1, 1 << 60, 5),  # a receiver's
        struct.pack(">BBHIQI", 0x40, 200, 6, 1, 1 << 60, 5),  # another version
        struct.pack(
            ">BBHIQI", 0x80, 200, 6, 1, 0, 5
        ),  # a camera that does not know the time (RFC 3550, 6.4.1)
    ],
)
def test_what_tells_no_time_is_no_report(packet: bytes) -> None:
    assert sender_report(packet) is None


@given(st.integers(0, WRAP - 1), st.binary(max_size=255))
def test_our_report_is_a_whole_compound_packet_with_our_name(ssrc: int, name: bytes) -> None:
    rest = receiver_report(ssrc, name)
    found: list[tuple[int, int, bytes]] = []
    while rest:
        first, kind, words = struct.unpack_from(">BBH", rest)
        assert first >> 6 == 2
        assert not first & 0x20
        assert len(rest) >= 4 + 4 * words
        found.append((kind, first & 0x1F, rest[4 : 4 + 4 * words]))
        rest = rest[4 + 4 * words :]
    assert [(kind, count) for kind, count, _ in found] == [(201, 0), (202, 1)]
    assert found[0][2] == struct.pack(">I", ssrc)
    described = found[1][2]
    assert described[:4] == struct.pack(">I", ssrc)
    assert described[4:6] == bytes([1, len(name)])
    assert described[6 : 6 + len(name)] == name
    assert 1 <= len(described) - 6 - len(name) <= 4
    assert not any(described[6 + len(name) :])
