"""Which parts of which files make up a period, for any set of files."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from understudy_recording_server.media.finding import Clip, spans_of
from understudy_recording_server.media.span import cuts_of

TIMES = st.integers(0, 300)


@st.composite
def clips(draw):
    found = []
    for number, (start, length) in enumerate(
        draw(st.lists(st.tuples(TIMES, st.integers(0, 60)), max_size=12))
    ):
        found.append(Clip(start, start + length, Path(f"{number}"), 1, None, f"{number}"))
    return sorted(found, key=lambda clip: (clip.start_ms, clip.end_ms, str(clip.path)))


def covered(clip_list, begin, end):
    return {ms for clip in clip_list for ms in range(max(clip.start_ms, begin), min(clip.end_ms, end))}


@given(clips(), TIMES, TIMES)
def test_every_recorded_moment_is_there_once_and_in_order(found, begin, end):
    moments = []
    for cut in cuts_of(found, begin, end):
        first = cut.clip.start_ms if cut.from_ms is None else cut.from_ms
        last = cut.clip.end_ms if cut.to_ms is None else cut.to_ms
        assert cut.clip.start_ms <= first < last <= cut.clip.end_ms
        moments.extend(range(first, last))
    assert moments == sorted(covered(found, begin, end))


@given(clips())
def test_a_timeline_covers_the_files_and_closes_small_gaps_only(found):
    spans = spans_of(found)
    for clip in found:
        assert any(span.start_ms <= clip.start_ms and clip.end_ms <= span.end_ms for span in spans)
    assert all(a.end_ms <= b.start_ms for a, b in pairwise(spans))
