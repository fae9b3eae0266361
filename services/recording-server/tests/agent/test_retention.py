"""What goes, and what never does: decided without a disk."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_contracts.machine import (
    FootageGap,
    OwnCameras,
    RestorationProgress,
    Serving,
    Standby,
    Storage,
)
from understudy_contracts.model import StorageState
from understudy_contracts.settings import ServerSettings, VersionedSettings
from understudy_footage import Held, RecordingName
from understudy_recording_server.disk.storage_state import reserve
from understudy_recording_server.keeping.care import Care, care_for, must_stop, storage_with_care
from understudy_recording_server.keeping.clock_book import ClockBook
from understudy_recording_server.keeping.forecast import WriteRate, hours_left, warning
from understudy_recording_server.keeping.gaps import GapBook, widened
from understudy_recording_server.keeping.retention import (
    DAY_MS,
    MOST_AT_ONCE,
    ClockNote,
    Room,
    Rules,
    WallClockWatch,
    doomed,
    minimum_free,
)

NOW = 1_800_000_000_000
MINUTE = 60_000
ROOMY = Room(10**12, 10**11)


def held(
    start: int, size: int = 100, *, length: int = MINUTE, camera: str = "a", home: str | None = None
) -> Held:
    path = str(RecordingName(start, length, home).path(camera))
    return Held(start, path, camera, start + length, size, home)


files = st.lists(
    st.builds(
        held,
        st.integers(NOW - 20 * DAY_MS, NOW),
        st.integers(0, 10**9),
        length=st.integers(0, 3 * MINUTE),
        camera=st.sampled_from(["a", "b"]),
        home=st.sampled_from([None, None, "f-1", "f-2"]),
    ),
    max_size=40,
    unique_by=lambda each: each.path,
).map(sorted)
rules = st.builds(
    Rules,
    st.none() | st.integers(1, 20),
    st.none() | st.integers(0, 10**10),
    st.none() | st.integers(0, 10**12),
)
rooms = st.builds(Room, st.just(10**10), st.integers(0, 10**10))


@given(files, rules, rooms, st.sampled_from([frozenset(), frozenset({"f-1"})]))
def test_the_oldest_go_and_only_as_many_as_must(found, keep, room, not_home):
    total = sum(each.size for each in found)
    gone = doomed(found, keep, room, held_bytes=total, now_ms=NOW, not_home=not_home)
    chosen = [each.held for each in gone]
    assert chosen == sorted(chosen)
    assert not [each for each in chosen if each.came_from in not_home]
    left = [each for each in found if each not in chosen]
    removable = [each for each in left if each.came_from not in not_home]
    freed = room.free + sum(each.size for each in chosen)
    kept = total - sum(each.size for each in chosen)
    # What remains obeys the rules, or nothing more may go.
    if removable:
        assert freed >= minimum_free(keep, room.total)
        assert keep.bytes is None or kept <= keep.bytes
    if keep.days is not None:
        assert not [each for each in removable if each.end_ms < NOW - keep.days * DAY_MS]
    # And the last one that went had to go.
    if chosen:
        last = chosen[-1]
        too_old = keep.days is not None and last.end_ms < NOW - keep.days * DAY_MS
        too_many = keep.bytes is not None and kept + last.size > keep.bytes
        no_room = freed - last.size < minimum_free(keep, room.total)
        assert too_old or too_many or no_room
        assert gone[-1].reason


@given(files, rules)
def test_without_a_trusted_clock_nothing_is_too_old(found, keep):
    by_age = Rules(days=keep.days)
    assert not doomed(found, by_age, ROOMY, held_bytes=0, now_ms=None)


def test_without_rules_nothing_goes_while_there_is_room():
    old = [held(0), held(1)]
    assert doomed(old, Rules(), ROOMY, held_bytes=200, now_ms=NOW) == []


def test_a_round_is_bounded():
    many = [held(number) for number in range(MOST_AT_ONCE + 9)]
    assert len(doomed(many, Rules(days=1), ROOMY, held_bytes=0, now_ms=NOW)) == MOST_AT_ONCE


@given(st.none() | st.integers(0, 10**15), st.integers(0, 10**14))
def test_what_must_stay_free_is_more_than_full_and_less_than_all(wanted, total):
    least = minimum_free(Rules(minimum_free=wanted), total)
    assert reserve(total) <= least <= max(total // 2, reserve(total))


@given(st.lists(st.tuples(st.floats(0.1, 100), st.integers(-1000, 1000)), max_size=30))
def test_small_steps_of_the_clock_are_no_jump(steps):
    wall, monotonic = NOW, 5.0
    watch = WallClockWatch(wall, monotonic)
    for pause, slip in steps:
        monotonic += pause
        wall += int(pause * 1000) + slip
        assert watch.trusted(wall, monotonic)


@pytest.mark.parametrize("jump_ms", [-2 * 3_600_000, 3_600_001, 365 * DAY_MS])
def test_after_a_jump_of_the_clock_age_counts_only_a_day_later(jump_ms):
    watch = WallClockWatch(NOW, 10.0)
    assert not watch.trusted(NOW + jump_ms, 10.0)
    assert not watch.trusted(NOW + jump_ms + DAY_MS - 2000, 10.0 + 86_398)
    assert watch.trusted(NOW + jump_ms + DAY_MS, 10.0 + 86_400)


YEAR_S = 365 * 86_400


@pytest.mark.parametrize("jump_s", [YEAR_S, -YEAR_S, 25 * 3600])
def test_a_jump_of_the_clock_while_the_machine_was_off_is_one(jump_s):
    note = WallClockWatch(NOW, 5000.0).note(NOW, 5000.0)
    watch = WallClockWatch(NOW + jump_s * 1000, 30.0, note)
    assert not watch.trusted(NOW + jump_s * 1000, 30.0)
    assert watch.trusted(NOW + (jump_s + 86_400) * 1000, 86_430.0)


def test_a_night_off_is_no_jump():
    note = WallClockWatch(NOW, 5000.0).note(NOW, 5000.0)
    later = NOW + 20 * 3_600_000
    assert WallClockWatch(later, 30.0, note).trusted(later, 30.0)
    assert WallClockWatch(later, 30.0).trusted(later, 30.0)


@given(st.lists(st.integers(1, 3600), min_size=1, max_size=40))
def test_no_number_of_restarts_shortens_the_day_after_a_jump(lives):
    watch = WallClockWatch(NOW, 0.0)
    wall_ms = NOW + YEAR_S * 1000
    assert not watch.trusted(wall_ms, 0.0)
    note, passed = watch.note(wall_ms, 0.0), 0
    for life in lives:
        watch = WallClockWatch(wall_ms, 30.0, note)
        wall_ms += life * 1000
        passed += life
        assert watch.trusted(wall_ms, 30.0 + life) == (passed >= WallClockWatch.REST_S)
        note = watch.note(wall_ms, 30.0 + life)


def test_the_note_of_the_clock_survives_a_restart_and_damage(tmp_path):
    book = ClockBook(tmp_path / "settings")
    assert book.load() is None
    resting = ClockNote(NOW, 3600.0)
    book.save(resting, 0.0)
    assert ClockBook(tmp_path / "settings").load() == resting
    # Saved now and then, and at once when a rest begins.
    assert not book.is_due(ClockNote(NOW + 1000, 3599.0), 1.0)
    assert book.is_due(ClockNote(NOW + 1000, 86_400.0), 1.0)
    assert book.is_due(ClockNote(NOW + 600_000, 3000.0), 600.0)
    for damage in (b"", b'{"seen_ms":', b"\xff", b'{"seen_ms":"soon"}'):
        (tmp_path / "settings" / "clock.json").write_bytes(damage)
        assert book.load() is None


def settings(server: str, **more: object) -> VersionedSettings:
    return VersionedSettings(server, server, 1, ServerSettings(**more))


def test_only_the_failover_that_is_served_in_may_give_up_footage():
    own = settings("s-own", retention_days=7)
    staged = {"s-1": settings("s-1", minimum_free_bytes=5, when_full="stop")}
    serving = Serving("f-3", "s-1", 1)
    assert care_for(serving, None, staged, []) == Care(None, "f-3", Rules(minimum_free=5), "stop")
    assert care_for(Standby(), None, staged, []) == Care()
    assert care_for(serving, None, {}, []) == Care()
    progress = [
        RestorationProgress("f-1", "done"),
        RestorationProgress("f-2", "running"),
        RestorationProgress("f-4", "failed"),
        RestorationProgress("f-5", "stopped"),
    ]
    care = care_for(OwnCameras(), own, {}, progress)
    assert care == Care(Rules(days=7), not_home=frozenset({"f-2", "f-4"}))


def test_recording_stops_when_full_only_where_that_is_chosen_and_does_not_flap():
    stop = Care(away="f-1", away_rules=Rules(minimum_free=1000), when_full="stop")
    least = minimum_free(stop.away_rules, 10_000)
    assert not must_stop(stop, Room(10_000, least), stopped=False)
    assert must_stop(stop, Room(10_000, least - 1), stopped=False)
    assert must_stop(stop, Room(10_000, least + 1), stopped=True)
    assert not must_stop(stop, Room(10_000, least * 3 // 2), stopped=True)
    assert not must_stop(Care(away="f-1"), Room(10_000, 0), stopped=False)
    assert not must_stop(Care(when_full="stop"), Room(10_000, 0), stopped=True)


def test_people_are_warned_with_the_hours_left():
    rate = WriteRate()
    for second in range(0, 30, 2):
        rate.note(1000.0 + second, second * 10**6)
    assert rate.bytes_per_second == pytest.approx(10**6)
    assert hours_left(36 * 10**8 + 500, 500, rate.bytes_per_second) == 1.0
    assert hours_left(400, 500, None) == 0.0
    assert hours_left(10**12, 500, None) is None
    assert warning("f-1", 25, "stop") is None
    assert warning("f-1", 3.5, "stop") == "footage of f-1 fills the disk in 3.5 hours; then recording stops"
    assert "30 minutes; then the oldest of it is let go" in str(warning("f-1", 0.5, "oldest-first"))
    rate.note(2000.0, 5)
    assert rate.bytes_per_second is None  # Other cameras: known again a little later.


def test_a_stopped_recording_is_told_as_a_full_disk():
    care = Care(away="f-1", when_full="stop")
    told = storage_with_care(Storage(total_bytes=9), care, 0.0, stopped=True)
    assert told.state is StorageState.FULL
    assert "f-1" in told.reason
    assert told.warnings
    assert told.hours_left == 0.0
    assert storage_with_care(Storage(), Care(), 0.0, stopped=True) == Storage()


@given(st.lists(st.lists(st.builds(held, st.integers(NOW, NOW + 10**6)), max_size=5), max_size=6))
def test_naming_a_gap_twice_changes_nothing(rounds):
    gaps: list[FootageGap] = []
    for each in rounds:
        gaps = widened(gaps, "f-1", each, "full")
        assert widened(gaps, "f-1", each, "full") == gaps
    everything = [one for each in rounds for one in each]
    assert len(gaps) == (1 if everything else 0)
    for one in everything:
        assert gaps[0].start <= one.start_ms <= one.end_ms <= gaps[0].end


def test_gaps_survive_a_restart_and_damage(tmp_path):
    book = GapBook(tmp_path / "settings")
    book.name("f-2", [held(NOW, 7)], "full")
    again = GapBook(tmp_path / "settings")
    again.load()
    assert again.gaps == [FootageGap("f-2", "a", NOW, NOW + MINUTE, 1, 7, "full")]
    (tmp_path / "settings/gaps.json").write_bytes(b"{nonsense")
    again.load()
    assert again.gaps == book.gaps
    for lost in (tmp_path / "settings").iterdir():
        lost.write_bytes(b"{nonsense")
    again.load()
    assert again.gaps == []
