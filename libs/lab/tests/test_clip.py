"""The clip is what was asked for, packets make up its frames again, and its cache is only a cache."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_lab.cameras.clip import ClipSettings, encode_clip, load_clip
from understudy_lab.cameras.rtp import fragments, packetize

SMALL = ClipSettings(width=320, height=180, fps=10, bitrate_kbit=200, gop_s=0.5, length_s=2.0)


def test_clip_has_the_size_rate_and_key_frames_asked_for() -> None:
    settings = ClipSettings(length_s=2.0)
    clip = encode_clip(settings)
    assert [number for number, frame in enumerate(clip.frames) if frame.is_key] == [0, 25]
    assert len(clip.frames) == 50
    size = sum(len(nal) for frame in clip.frames for nal in frame.slices)
    assert size * 8 / 2.0 / 1000 == pytest.approx(2000, rel=0.2)


def test_broken_or_forbidden_cache_costs_only_time(tmp_path: Path) -> None:
    first = load_clip(SMALL, tmp_path)
    (file,) = tmp_path.iterdir()
    assert load_clip(SMALL, tmp_path) == first
    file.write_bytes(file.read_bytes()[:1000])
    assert load_clip(SMALL, tmp_path).frames
    assert load_clip(SMALL, file / "no-folder").frames
    assert [entry.name for entry in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize(
    "wrong", [{"width": 15}, {"height": 181}, {"fps": 0}, {"gop_s": 0.0}, {"bitrate_kbit": 1}]
)
def test_clip_that_cannot_be_is_refused(wrong: dict[str, float], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be"):
        load_clip(ClipSettings(**wrong), tmp_path)  # type: ignore[arg-type]


@given(st.binary(min_size=1, max_size=6000))
def test_fragments_make_up_the_nal_unit(nal: bytes) -> None:
    parts = fragments(nal)
    assert all(len(part) <= 1400 for part in parts)
    if len(parts) == 1:
        assert parts == [nal]
        return
    assert {part[0] & 0x1F for part in parts} == {28}
    assert [bool(part[1] & 0x80) for part in parts] == [True] + [False] * (len(parts) - 1)
    assert [bool(part[1] & 0x40) for part in parts] == [False] * (len(parts) - 1) + [True]
    head = (parts[0][0] & 0xE0) | (parts[0][1] & 0x1F)
    # The forbidden bit is never set in a NAL unit that an encoder makes; fragmenting does not carry it.
    assert bytes([head]) + b"".join(part[2:] for part in parts) == bytes([nal[0] & 0x7F]) + nal[1:]


def test_packets_are_filled_in_order_and_only_the_last_is_marked(clip_folder: Path) -> None:
    frame = packetize(load_clip(SMALL, clip_folder)).frames[0]
    data = bytes(frame.behind.filled(0xFFFF, 123, 456))
    sequences, marks = [], []
    while data:
        dollar, channel, length, _, kind, sequence, timestamp, ssrc = struct.unpack_from(">BBHBBHII", data)
        assert (dollar, channel, timestamp, ssrc) == (0x24, 0, 123, 456)
        sequences.append(sequence)
        marks.append(bool(kind & 0x80))
        data = data[4 + length :]
    assert sequences == [(0xFFFF + at) & 0xFFFF for at in range(len(sequences))]
    assert marks == [False] * (len(marks) - 1) + [True]
    assert len(marks) > 1
