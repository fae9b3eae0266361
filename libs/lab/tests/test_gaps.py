"""Gaps are what is missing from the union, in any order, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_lab.frames import FrameMark, find_gaps

FPS = 25


def frame(number: int, camera: str = "cam-1") -> FrameMark:
    return FrameMark(camera, number, 1_700_000_000_000 + number * 40, is_key=number % 25 == 0)


def test_outage_between_two_servers_is_one_gap() -> None:
    original = [frame(number) for number in range(100)]
    failover_server = [frame(number) for number in range(150, 300)]
    original_again = [frame(number) for number in range(290, 400)]
    other = [frame(number, "cam-2") for number in range(10)]

    gaps = find_gaps([*original_again, *other, *original, *failover_server], FPS)

    assert gaps["cam-2"] == []
    (gap,) = gaps["cam-1"]
    assert (gap.after_number, gap.before_number, gap.missing_frames) == (99, 150, 50)
    assert gap.seconds == 2.0
    assert gap.to_captured_ms - gap.from_captured_ms == 51 * 40


@given(st.sets(st.integers(min_value=0, max_value=200), min_size=1), st.randoms(), st.integers(1, 3))
def test_gaps_and_frames_make_up_the_whole(present: set[int], chance, copies: int) -> None:
    frames = [frame(number) for number in present] * copies
    chance.shuffle(frames)
    gaps = find_gaps(frames, FPS)["cam-1"]
    missing = {number for gap in gaps for number in range(gap.after_number + 1, gap.before_number)}
    assert missing == set(range(min(present), max(present) + 1)) - present
    assert sum(gap.missing_frames for gap in gaps) == len(missing)
    assert [gap.after_number for gap in gaps] == sorted(gap.after_number for gap in gaps)


def test_nothing_has_no_gaps() -> None:
    assert find_gaps([], FPS) == {}


def test_two_runs_of_a_camera_are_not_mixed() -> None:
    again = FrameMark("cam-1", 5, 1, is_key=False)
    with pytest.raises(ValueError, match="two runs"):
        find_gaps([frame(5), again], FPS)


@pytest.mark.parametrize("fps", [0, -1, float("nan")])
def test_impossible_rate_is_refused(fps: float) -> None:
    with pytest.raises(ValueError, match="fps"):
        find_gaps([frame(1)], fps)
