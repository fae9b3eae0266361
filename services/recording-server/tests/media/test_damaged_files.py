"""Files with single wrong bits: a period that they are in plays through, quickly, without what they hold."""

from __future__ import annotations

import io
import random
import struct
from fractions import Fraction
from pathlib import Path

import av
import pytest
from understudy_recording_server.media.finding import Clip
from understudy_recording_server.media.mp4 import fragments, read_head
from understudy_recording_server.media.span import cuts_of, open_span, opened, read_span
from understudy_recording_server.recorder.segments import MOVFLAGS

FRAMES = 50
LENGTH_MS = FRAMES * 40


@pytest.fixture(scope="module")
def whole() -> bytes:
    """A file as the recorder writes it."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4", options={"movflags": MOVFLAGS}) as container:
        settings = {"preset": "ultrafast", "tune": "zerolatency"}
        stream = container.add_stream("libx264", rate=25, options=settings)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.gop_size = 10
        for number in range(FRAMES):
            frame = av.VideoFrame(64, 48, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([number * 5 % 256]) * plane.buffer_size)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def span_of(folder: Path, contents: list[bytes]):
    """A period of files that follow each other."""
    clips = []
    for number, content in enumerate(contents):
        path = folder / f"{number}.mp4"
        path.write_bytes(content)
        start = number * LENGTH_MS
        clips.append(Clip(start, start + LENGTH_MS, path, len(content), None, path.name))
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


@pytest.mark.parametrize("seed", range(5))
def test_no_wrong_bit_does_more_than_cost_its_file(whole, tmp_path, seed):
    chance = random.Random(seed)
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        span = span_of(tmp_path, [whole, bytes(damaged), whole])
        assert sum(len(chunk) for chunk in read_span(span, 0, span.size)) == span.size
