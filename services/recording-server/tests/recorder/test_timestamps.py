import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_recording_server.recorder.timestamps import FileClock, Timeline

TICK = 1 / 90_000
FRAME = 3600

stamps = st.none() | st.integers(-(2**33), 2**33)
frames = st.lists(st.tuples(stamps, stamps, st.floats(0, 30)), min_size=1, max_size=60)


@given(frames)
def test_whatever_is_sent_time_strictly_grows(
    sent: list[tuple[int | None, int | None, float]],
) -> None:
    timeline = Timeline(TICK)
    arrival, last = 1000.0, -1
    for dts, pts, pause in sent:
        arrival += pause
        placed = timeline.place(dts, pts, arrival)
        assert placed.dts > last
        assert placed.pts >= placed.dts
        last = placed.dts


@given(st.integers(-(2**40), 2**40), st.lists(st.integers(1, 20_000), min_size=1, max_size=50))
def test_a_regular_stream_keeps_its_intervals(first: int, steps: list[int]) -> None:
    timeline = Timeline(TICK)
    assert timeline.place(first, first, 0.0).dts == 0
    dts, arrival = first, 0.0
    for step in steps:
        dts += step
        arrival += step * TICK
        placed = timeline.place(dts, dts, arrival)
        assert (placed.dts, placed.jumped) == (dts - first, False)


def _place_all(times: list[int | None], interval: float = 0.04) -> list:
    timeline = Timeline(TICK)
    return [timeline.place(dts, dts, 50.0 + number * interval) for number, dts in enumerate(times)]


@pytest.mark.parametrize("jump", [2**32, -(2**32), 90_000 * 60, -90_000 * 60])
def test_a_jump_or_a_wrap_goes_on_in_real_time_and_asks_for_a_new_file(jump: int) -> None:
    placed = _place_all([0, FRAME, 2 * FRAME, 3 * FRAME + jump, 4 * FRAME + jump])
    assert [one.jumped for one in placed] == [False, False, False, True, False]
    assert placed[3].dts == pytest.approx(3 * FRAME, abs=2)
    assert placed[4].dts - placed[3].dts == FRAME


def test_a_missing_first_timestamp_is_filled_in() -> None:
    placed = _place_all([None, 500_000, 500_000 + FRAME])
    assert placed[0].dts == 0
    assert placed[1].dts == pytest.approx(FRAME, abs=2)
    assert placed[2].dts - placed[1].dts == FRAME
    assert not any(one.jumped for one in placed)


def test_packets_of_one_frame_with_the_same_time_follow_each_other_closely() -> None:
    placed = _place_all([0, FRAME, FRAME, FRAME, 2 * FRAME])
    assert [one.dts for one in placed] == [0, FRAME, FRAME + 1, FRAME + 2, 2 * FRAME]


def test_a_clock_that_stands_still_is_replaced_by_arrival() -> None:
    placed = _place_all([0] * 250)
    assert placed[-1].dts * TICK == pytest.approx(250 * 0.04, abs=2.1)
    assert any(one.jumped for one in placed)


def test_a_pause_of_the_network_is_no_jump() -> None:
    timeline = Timeline(TICK)
    timeline.place(0, 0, 0.0)
    placed = timeline.place(30 * 90_000, 30 * 90_000, 30.0)
    assert not placed.jumped
    assert placed.dts == 30 * 90_000


def test_reordered_frames_keep_their_distance_from_decoding() -> None:
    timeline = Timeline(TICK)
    assert timeline.place(1000, 1000 + 2 * FRAME, 0.0).pts == 2 * FRAME
    assert timeline.place(1000 + FRAME, 1000 + FRAME, 0.04).pts == FRAME


@given(st.lists(st.integers(-400, 400), min_size=1, max_size=50))
def test_files_of_an_unbroken_stream_start_in_order_whatever_the_jitter(jitter: list[int]) -> None:
    clock, last = FileClock(), 0
    for number, late_ms in enumerate(jitter):
        start, continuous = clock.start_ms(number * 60.0, 1_000_000 + number * 60_000 + late_ms)
        assert continuous == (number > 0)
        assert start > last
        last = start


@given(st.lists(st.tuples(st.integers(1, 2000), st.integers(-1999, 1999)), min_size=1, max_size=20))
def test_files_that_follow_each_other_begin_after_each_other(cuts: list[tuple[int, int]]) -> None:
    # However short a file is, its duration is the next one's start less its own.
    clock, media_ms = FileClock(), 0
    last, _ = clock.start_ms(0.0, 1_000_000)
    for passed_ms, late_ms in cuts:
        media_ms += passed_ms
        start, continuous = clock.start_ms(media_ms / 1000, 1_000_000 + media_ms + late_ms)
        assert start > last or not continuous
        last = start


def test_the_drift_of_a_cameras_clock_does_not_add_up() -> None:
    clock = FileClock()
    for number in range(2000):
        arrival = 1_000_000 + number * 60_000
        start, _ = clock.start_ms(number * 60.0 * 1.0005, arrival)  # 0.5 per mille fast: 30 ms a file
        assert abs(start - arrival) < 300


def test_a_jump_of_the_wall_clock_is_followed_and_breaks_the_row() -> None:
    clock = FileClock()
    clock.start_ms(0.0, 1_000_000)
    assert clock.start_ms(60.0, 1_060_000) == (1_060_000, True)
    assert clock.start_ms(120.0, 1_120_000 - 3_600_000) == (1_120_000 - 3_600_000, False)
