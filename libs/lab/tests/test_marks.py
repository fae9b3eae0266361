"""Marks survive the way into H.264 and back, whatever they hold."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from understudy_lab.marks import MARK_UUID, Mark, escape, mark_nal, parse_mark, unescape

numbers = st.integers(min_value=0, max_value=10**18)
marks = st.builds(Mark, st.text(st.characters(exclude_categories=["Cs"]), max_size=600), numbers, numbers)
# Emulation prevention only shows with runs of small bytes, which random bytes hardly have.
zero_rich = st.lists(st.sampled_from([0, 0, 0, 1, 2, 3, 4, 255]), max_size=200).map(bytes)


def forbidden(nal: bytes) -> bool:
    return any(bad in nal for bad in (b"\0\0\0", b"\0\0\1", b"\0\0\2"))


@given(marks)
@example(Mark("\0\0\0\0\1\0\0\2\0\0\3", 0, 0))
@example(Mark("c" * (255 - 16 - 4), 0, 0))  # the payload is just as long as its size code's step
def test_mark_comes_back(mark: Mark) -> None:
    nal = mark_nal(mark)
    assert not forbidden(nal)
    assert parse_mark(nal) == mark


@given(zero_rich)
def test_escaped_bytes_come_back_and_hold_no_start_code(data: bytes) -> None:
    rbsp = data + b"\x80"
    escaped = escape(rbsp)
    assert not forbidden(escaped)
    assert unescape(escaped) == rbsp


def test_escape_as_the_standard_says() -> None:
    assert escape(bytes.fromhex("00000000000180")) == bytes.fromhex("0000030000030001 80")
    assert escape(bytes.fromhex("00000380")) == bytes.fromhex("0000030380")
    assert escape(bytes.fromhex("00000480")) == bytes.fromhex("00000480")


@given(st.binary(max_size=100) | zero_rich, st.booleans())
def test_rubbish_is_no_mark(data: bytes, with_uuid: bool) -> None:
    nal = b"\x06" + data + (MARK_UUID if with_uuid else b"") + data
    found = parse_mark(nal)
    assert found is None or isinstance(found, Mark)


@given(marks, st.data())
def test_cut_mark_is_no_mark(mark: Mark, data: st.DataObject) -> None:
    nal = mark_nal(mark)
    cut = nal[: data.draw(st.integers(min_value=0, max_value=len(nal) - 2))]
    assert parse_mark(cut) is None


def test_mark_behind_another_message_is_found() -> None:
    mark = Mark("cam-1", 7, 1_700_000_000_000)
    other = bytes([5, 20]) + bytes(range(1, 21))
    nal = mark_nal(mark)
    assert parse_mark(nal[:1] + other + nal[1:]) == mark
    assert parse_mark(nal[:1] + other + b"\x80") is None
    assert parse_mark(b"\x41" + nal[1:]) is None
    assert parse_mark(b"") is None
