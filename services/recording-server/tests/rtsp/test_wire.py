import itertools
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_recording_server.rtsp.messages import (
    LONGEST_BODY_BYTES,
    LONGEST_HEAD_BYTES,
    Message,
    NotRtsp,
)
from understudy_recording_server.rtsp.wire import Packet, Wire

MOST_KEPT_BYTES = LONGEST_HEAD_BYTES + LONGEST_BODY_BYTES + 1

packets = st.tuples(
    st.integers(0, 255),
    st.binary(max_size=8) | st.sampled_from([b"$\x00\x00\x04", b"\r\n\r\n", bytes(300), bytes(65_535)]),
)
first_lines = st.sampled_from(
    [
        ("RTSP/1.0 200 OK", 200, ""),
        ("RTSP/1.0 401", 401, ""),
        ("RTSP/1.0 404 N\u00e3o encontrado", 404, ""),
        ("OPTIONS rtsp://host/a RTSP/1.0", 0, "OPTIONS"),
    ]
)
headers = st.lists(
    st.tuples(st.sampled_from(["cseq", "session", "x"]), st.sampled_from(["", "1", "a: b", "$", "\u00fc"])),
    max_size=4,
)
bodies = st.sampled_from(
    [b"", b"v=0\r\n", b"\r\n\r\n", b"$\x00\x00\x04", b"RTSP/1.0 200 OK\r\n\r\n", bytes(5000)]
)


@st.composite
def messages(draw: st.DrawFn) -> tuple[bytes, Message]:
    (first, status, method), body = draw(first_lines), draw(bodies)
    lines, told = [first], dict[str, list[str]]()
    for name, value in [*draw(headers), ("content-length", str(len(body)))]:
        lines.append(f"{name.title()}: {value}")
        told.setdefault(name, []).append(value)
    raw = "\r\n".join([*lines, "", ""]).encode() + body
    return raw, Message(status, method, told, body)


def _framed(packet: Packet) -> bytes:
    return b"$" + bytes([packet[0]]) + len(packet[1]).to_bytes(2, "big") + packet[1]


parts = st.lists(packets | messages() | st.sampled_from([b"\r\n", b"\n", b"\r\n\r\n"]), max_size=8)


@given(parts, st.data())
def test_however_the_bytes_are_cut_the_same_packets_and_messages_come_out(
    sent: list, data: st.DataObject
) -> None:
    raw = b""
    expected_packets: list[Packet] = []
    expected_messages: list[Message] = []
    for part in sent:
        if isinstance(part, bytes):
            raw += part
        elif isinstance(part[0], int):
            raw += _framed(part)
            expected_packets.append(part)
        else:
            raw += part[0]
            expected_messages.append(part[1])
    places = data.draw(st.lists(st.integers(0, len(raw)), max_size=12).map(sorted))
    wire = Wire()
    found_packets: list[Packet] = []
    found_messages: list[Message] = []
    for start, end in zip([0, *places], [*places, len(raw)], strict=True):
        some, others = wire.feed(raw[start:end])
        found_packets += some
        found_messages += others
    assert found_packets == expected_packets
    assert found_messages == expected_messages


def test_byte_by_byte_is_as_good_as_whole() -> None:
    raw = _framed((3, b"abc")) + b"RTSP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n$$" + _framed((4, b""))
    wire = Wire()
    fed = [wire.feed(bytes([byte])) for byte in raw]
    assert [packet for some, _ in fed for packet in some] == [(3, b"abc"), (4, b"")]
    assert [message.body for _, others in fed for message in others] == [b"$$"]


pieces = st.lists(
    st.binary(max_size=300)
    | st.sampled_from(
        [b"$", b"\r\n\r\n", b"RTSP/1.0 200 OK\r\n", b"Content-Length: 5\r\n", b"OPTIONS * RTSP/1.0\r\n"]
    ),
    max_size=10,
)


@given(pieces)
def test_any_bytes_are_taken_or_are_no_rtsp(fed: list[bytes]) -> None:
    wire = Wire()
    try:
        for piece in fed:
            wire.feed(piece)
    except NotRtsp:
        pass
    assert len(wire._rest) <= MOST_KEPT_BYTES


def _kept_until_refused(first: bytes, piece: bytes, most_pieces: int) -> tuple[bool, int]:
    """Whether the wire refused in the end, and how much it kept at most."""
    wire, kept = Wire(), 0
    try:
        wire.feed(first)
        for _ in range(most_pieces):
            wire.feed(piece)
            kept = max(kept, len(wire._rest))
    except NotRtsp:
        return True, kept
    return False, kept


@pytest.mark.parametrize(
    ("first", "piece"),
    [
        (b"RTSP/1.0 200 OK\r\n", b"Name: value\r\n"),
        (b"RTSP/1.0 200 OK\r\nName: ", b"x" * 100),
        (b"RTSP/1.0 200 ", b"O" * 100),
        (b"RTSP/1.0 200 OK\r\n", b"\r" * 100),
        (b"OPTIONS ", b"/" * 100),
        (b"A ", b"A" * 100),
    ],
)
def test_a_head_without_an_end_is_refused_at_its_limit(first: bytes, piece: bytes) -> None:
    refused, kept = _kept_until_refused(first, piece, 2 * LONGEST_HEAD_BYTES // len(piece))
    assert refused
    assert kept < LONGEST_HEAD_BYTES


@pytest.mark.parametrize(
    "first", [b"\x00", b"\xff\xd8\xff\xe0", b"\x16\x03\x01\x02\x00", b"HTTP\x00", b"<html>", b"R" * 33]
)
def test_what_cannot_become_a_message_is_refused_at_once(first: bytes) -> None:
    with pytest.raises(NotRtsp):
        Wire().feed(first)


def test_the_longest_head_is_taken_and_one_byte_more_is_not() -> None:
    opening, end = b"RTSP/1.0 200 OK\r\nx: ", b"\r\n\r\n"
    longest = opening + b"x" * (LONGEST_HEAD_BYTES - len(opening) - len(end)) + end
    _, [taken] = Wire().feed(longest)
    assert taken.status == 200
    with pytest.raises(NotRtsp):
        Wire().feed(longest.replace(b"x: ", b"x: x"))


def test_a_body_that_never_comes_is_waited_for_within_bounds() -> None:
    wire = Wire()
    head = f"RTSP/1.0 200 OK\r\nContent-Length: {LONGEST_BODY_BYTES}\r\n\r\n".encode()
    wire.feed(head)
    for _ in range(LONGEST_BODY_BYTES // 1024 - 1):
        assert wire.feed(b"$" * 1024) == ([], [])
    assert len(wire._rest) < MOST_KEPT_BYTES
    _, [whole] = wire.feed(b"$" * 1024)
    assert whole.body == b"$" * LONGEST_BODY_BYTES


def test_endless_packets_and_empty_lines_leave_nothing_behind() -> None:
    wire = Wire()
    packet, cut = _framed((0, bytes(1000))), 700
    wire.feed(packet[:cut])
    tracemalloc.start()
    try:
        for _ in range(500):
            found, others = wire.feed(packet[cut:] + b"\r\n\r\n" * 50 + packet[:cut])
            assert (len(found), others) == (1, [])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 * 1024


RTP = b"\x80\x60" + bytes(20)


@given(st.lists(st.binary(max_size=60), max_size=6), st.lists(st.integers(0, 400), max_size=8))
def test_nonsense_between_packets_is_passed_by(nonsense: list[bytes], cuts: list[int]) -> None:
    """Unless it looks like a packet, or like the beginning of a message."""
    kept = [b"\x00" + one.replace(b"$", b"").replace(b"\r", b"").replace(b"\n", b"") for one in nonsense]
    packet = b"$\x00" + len(RTP).to_bytes(2, "big") + RTP
    data = packet + b"".join(one + packet for one in kept)
    wire = Wire()
    wire.channels = frozenset({0, 1})
    found = []
    places = sorted({0, *(cut for cut in cuts if cut < len(data)), len(data)})
    for start, end in itertools.pairwise(places):
        packets, messages = wire.feed(data[start:end])
        assert not messages
        found += packets
    assert found == [(0, RTP)] * (len(kept) + 1)


def test_endless_nonsense_between_packets_is_not() -> None:
    wire = Wire()
    wire.channels = frozenset({0, 1})
    wire.feed(bytes(60_000))
    with pytest.raises(NotRtsp):
        wire.feed(bytes(10_000))
