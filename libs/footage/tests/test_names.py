import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_footage import FootagePath, InvalidFootageName, PartName, RecordingName, SnapshotName, day_of
from understudy_footage.names import MAXIMUM_DURATION_MS, MAXIMUM_TIME_MS

times = st.integers(0, MAXIMUM_TIME_MS)
failovers = st.none() | st.integers(1, 10**15 - 1).map(lambda epoch: f"f-{epoch}")
recordings = st.builds(RecordingName, times, st.integers(0, MAXIMUM_DURATION_MS), failovers)
snapshots = st.builds(SnapshotName, times, failovers)
cameras = st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True)


@given(cameras, recordings | snapshots)
def test_a_path_tells_what_it_was_made_of(camera: str, name: RecordingName | SnapshotName) -> None:
    path = FootagePath(camera, name)
    assert FootagePath.parse(path.text) == path


@given(times)
def test_an_unfinished_name_tells_its_start(start_ms: int) -> None:
    assert PartName.parse(PartName(start_ms).file_name) == PartName(start_ms)


@given(times, times)
def test_the_order_of_names_is_the_order_of_time(one: int, other: int) -> None:
    assert (RecordingName(one, 5).file_name < RecordingName(other, 5).file_name) == (one < other)
    assert (str(RecordingName(one, 5).path("c")) < str(RecordingName(other, 5).path("c"))) == (one < other)


def test_names_read_as_promised() -> None:
    name = RecordingName(1770000000123, 60012)
    assert str(name.path("gate-1")) == "recordings/gate-1/2026-02-02/1770000000123_60012.mp4"
    assert name.end_ms == 1770000060135
    home = FootagePath("gate-1", name).brought_home("f-12")
    assert home.text == "recordings/gate-1/2026-02-02/1770000000123_60012_f-12.mp4"
    assert home.brought_home("f-13") == home
    picture = FootagePath("gate-1", SnapshotName(1770000000123)).brought_home("f-12")
    assert picture.text == "snapshots/gate-1/2026-02-02/1770000000123_f-12.jpg"


def test_days_end_at_midnight_utc() -> None:
    assert day_of(86_399_999) == "1970-01-01"
    assert day_of(86_400_000) == "1970-01-02"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/etc/passwd",
        "recordings/../../etc/passwd",
        "recordings/gate/../1770000000123_60012.mp4",
        "recordings/gate/2026-02-02/../1770000000123_60012.mp4",
        "recordings/gate/2026-02-03/1770000000123_60012.mp4",
        "recordings/gate/2026-02-02/1770000000123.mp4.part",
        "recordings/gate/2026-02-02/1770000000123_60012.mp4\n",
        "recordings/gate/2026-02-02/1770000000123_60012.mp4\0",
        "recordings/gate/2026-02-02/1770000000123_060012.mp4",
        "recordings/gate/2026-02-02/1770000000123_-1.mp4",
        "recordings/gate/2026-02-02/1770000000123_60012_f-0.mp4",
        "recordings/gate/2026-02-02/1770000000123_60012_f-12_f-13.mp4",
        "recordings/gate/2026-02-02/١٧٧٠٠٠٠٠٠٠١٢٣_60012.mp4",
        "recordings//2026-02-02/1770000000123_60012.mp4",
        "recordings/Gate/2026-02-02/1770000000123_60012.mp4",
        "./recordings/gate/2026-02-02/1770000000123_60012.mp4",
        "snapshots/gate/2026-02-02/1770000000123_60012.mp4",
        "settings/gate/2026-02-02/1770000000123_60012.mp4",
        "recordings/gate/2026-02-02/" + "1" * 300 + "_1.mp4",
    ],
)
def test_hostile_paths_are_refused(text: str) -> None:
    with pytest.raises(InvalidFootageName) as caught:
        FootagePath.parse(text)
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 300


@given(st.text())
def test_any_text_is_a_path_of_ours_or_refused(text: str) -> None:
    try:
        path = FootagePath.parse(text)
    except InvalidFootageName:
        return
    assert path.text == text


@pytest.mark.parametrize("start_ms", [-1, MAXIMUM_TIME_MS + 1])
def test_times_that_no_name_can_hold_are_refused(start_ms: int) -> None:
    with pytest.raises(InvalidFootageName):
        RecordingName(start_ms, 1)
    with pytest.raises(InvalidFootageName):
        PartName(start_ms)
    with pytest.raises(InvalidFootageName):
        SnapshotName(start_ms)


def test_a_camera_that_is_no_id_gets_no_path() -> None:
    with pytest.raises(InvalidFootageName):
        RecordingName(1, 1).path("../x")
