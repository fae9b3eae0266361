"""Files with single wrong bits: a period that they are in plays through, quickly, without what they hold."""

from __future__ import annotations

import errno
import io
import os
import random
import struct
import tempfile
from pathlib import Path

import av
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from understudy_lab.fragmented import fragmented_mp4
from understudy_recording_server.media.finding import Clip
from understudy_recording_server.media.mp4 import fragments, read_head
from understudy_recording_server.media.span import cuts_of, open_span, opened, read_span

FRAMES = 50
LENGTH_MS = FRAMES * 40


@pytest.fixture(scope="module")
def whole() -> bytes:
    """A file as the recorder writes it."""
    return fragmented_mp4(FRAMES, key_every=10)


def span_of(folder: Path, contents: list[bytes]):
    """A period of files that follow each other."""
    for number, content in enumerate(contents):
        (folder / f"{number}.mp4").write_bytes(content)
    return reopened(folder, contents)


def reopened(folder: Path, contents: list[bytes]):
    """The same period, opened anew."""
    clips = [
        Clip(number * LENGTH_MS, (number + 1) * LENGTH_MS, folder / f"{number}.mp4", len(content), None, "x")
        for number, content in enumerate(contents)
    ]
    span = open_span(cuts_of(clips, 0, len(contents) * LENGTH_MS))
    assert span is not None
    return span


def frames_in(body: bytes) -> int:
    with av.open(io.BytesIO(body)) as container:
        return sum(packet.size > 0 for packet in container.demux(video=0))


def places(content: bytes, folder: Path, box: bytes) -> list[int]:
    """Where this box's content begins in each fragment."""
    path = folder / "whole.mp4"
    path.write_bytes(content)
    with opened(path) as descriptor:
        found = list(fragments(descriptor, len(read_head(descriptor).init), len(content)))
    return [content.index(box, fragment.start) + 4 for fragment in found]


def test_what_is_damaged_in_the_middle_of_a_file_does_not_end_the_period(whole, tmp_path):
    half = len(whole) // 2
    damaged = whole[:half] + bytes(200) + whole[half + 200 :]
    span = span_of(tmp_path, [whole, damaged, whole])
    body = b"".join(read_span(span, 0, span.size))
    assert len(body) == span.size
    assert 2 * FRAMES < frames_in(body) < 3 * FRAMES
    for start in range(0, span.size, 997):
        assert b"".join(read_span(span, start, start + 500)) == body[start : start + 500]


def test_a_number_of_frames_that_cannot_be_is_not_counted_to(whole, tmp_path):
    at = places(whole, tmp_path, b"trun")[20] + 4
    damaged = whole[:at] + b"\xff" + whole[at + 1 :]
    # Asking for a part of the file means going through its fragments.
    clip = Clip(0, LENGTH_MS, tmp_path / "0.mp4", len(damaged), None, "0.mp4")
    clip.path.write_bytes(damaged)
    span = open_span(cuts_of([clip], 0, LENGTH_MS - 100))
    assert span is not None
    assert frames_in(b"".join(read_span(span, 0, span.size))) == 20


def test_times_and_places_beyond_any_file_are_taken_for_damage(whole, tmp_path):
    late = places(whole, tmp_path, b"tfdt")[20] + 4
    at = whole.rindex(b"tfra") + 4
    version, _, sizes, count = struct.unpack_from(">IIII", whole, at)
    assert (version >> 24, sizes) == (1, 0)
    last = at + 16 + 19 * (count - 1) + 8
    for place in (late, last):
        damaged = whole[:place] + b"\xff" * 8 + whole[place + 8 :]
        span = span_of(tmp_path, [whole, damaged, whole])
        body = b"".join(read_span(span, 0, span.size))
        assert len(body) == span.size
        assert frames_in(body) >= 2 * FRAMES + 20


SECTOR = 512


class Disk:
    """Reads as Linux does from a disk with bad sectors: what comes before one, then nothing but errors."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bad: dict[int, int] = {}
        """Where a bad sector begins, by inode of its file."""
        self._pread = os.pread
        monkeypatch.setattr(os, "pread", self.pread)

    def pread(self, descriptor: int, count: int, at: int) -> bytes:
        bad = self.bad.get(os.fstat(descriptor).st_ino)
        if bad is not None and bad - count < at < bad + SECTOR:
            if at >= bad:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            count = bad - at
        return self._pread(descriptor, count, at)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_bad_sector_costs_what_is_in_it(whole, tmp_path, disk, share):
    disk.bad = {}
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    contents = [whole, whole, whole]
    good = span_of(folder, contents)
    number = int(share * len(whole) / SECTOR)
    # A disk does not say where it is ill before it is asked.
    disk.bad[(folder / "1.mp4").stat().st_ino] = number * SECTOR
    span = reopened(folder, contents)
    body = b"".join(read_span(span, 0, span.size))
    assert len(body) == span.size
    assert frames_in(body) >= 2 * FRAMES
    for start in range(0, span.size, 4999):
        assert b"".join(read_span(span, start, start + 500)) == body[start : start + 500]
    # It may also break between the two.
    body = b"".join(read_span(good, 0, good.size))
    assert len(body) == good.size
    assert frames_in(body) >= 2 * FRAMES


def test_a_bad_sector_within_a_picture_costs_that_picture(whole, tmp_path, disk):
    # The picture is made longer, so that a sector has room in it.
    at = places(whole, tmp_path, b"mdat")[20] - 8
    size = struct.unpack_from(">I", whole, at)[0]
    longer = whole[:at] + struct.pack(">I", size + 4096) + b"mdat" + whole[at + 8 : at + size]
    longer += bytes(4096) + whole[at + size : whole.rindex(b"mfra") - 4]
    span = span_of(tmp_path, [whole, longer, whole])
    disk.bad[(tmp_path / "1.mp4").stat().st_ino] = (at + size + 2048) // SECTOR * SECTOR
    body = b"".join(read_span(span, 0, span.size))
    assert len(body) == span.size
    assert frames_in(body) == 3 * FRAMES - 1


@pytest.mark.parametrize("seed", range(5))
def test_no_wrong_bit_does_more_than_cost_its_file(whole, tmp_path, seed):
    chance = random.Random(seed)
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        span = span_of(tmp_path, [whole, bytes(damaged), whole])
        assert sum(len(chunk) for chunk in read_span(span, 0, span.size)) == span.size
