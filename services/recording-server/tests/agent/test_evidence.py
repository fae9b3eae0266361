"""What is made of the recorder's reports: its own crashes and late words must not mislead the host."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from understudy_contracts.model import CameraState, RecorderState
from understudy_recording_server.recorder.protocol import (
    CameraChanged,
    CameraSpec,
    CameraStatus,
    CameraStopped,
    FirstKeyFrame,
    Ready,
    Status,
)
from understudy_recording_server.supervising.evidence import Evidence
from understudy_recording_server.supervising.health import recorder_state
from understudy_recording_server.wanted import CameraSet

FOLDER = "failovers/f-1"


def one(url="rtsp://camera/1"):
    return CameraSet([CameraSpec("cam-1", url)], {}, 60, "f-1")


def status(generation, **more):
    return Status(1, [CameraStatus(FOLDER, "cam-1", generation, CameraState.RECORDING, **more)])


def test_a_late_word_of_an_earlier_run_does_not_count():
    evidence = Evidence()
    evidence.expect(FOLDER, one(), 1)
    assert evidence.take(FirstKeyFrame(FOLDER, "cam-1", 1, 50, 40, None))
    evidence.expect(FOLDER, one("rtsp://camera/2"), 2)
    evidence.take(status(1, first_key_frame_at_ms=50, bytes_written=9))
    evidence.take(FirstKeyFrame(FOLDER, "cam-1", 1, 50, 40, None))
    found = evidence.cameras()[0]
    assert (found.state, found.first_key_frame_at, found.bytes_written) == (CameraState.CONNECTING, None, 0)
    assert evidence.take(FirstKeyFrame(FOLDER, "cam-1", 2, 90, 80, None))
    assert evidence.cameras()[0].first_key_frame_at == 90


def test_an_unchanged_camera_keeps_what_it_has_shown():
    evidence = Evidence()
    evidence.expect(FOLDER, one(), 1)
    evidence.take(FirstKeyFrame(FOLDER, "cam-1", 1, 50, 40, None))
    evidence.expect(FOLDER, CameraSet([*one().cameras, CameraSpec("cam-2", "rtsp://c/2")], {}, 60, "f-1"), 2)
    assert [camera.first_key_frame_at for camera in evidence.cameras()] == [50, None]
    assert not evidence.take(FirstKeyFrame(FOLDER, "cam-1", 2, 50, 40, None))


@given(st.lists(st.lists(st.integers(0, 1000), min_size=1, max_size=5), min_size=1, max_size=5))
def test_counts_grow_over_crashes_of_the_recorder(lives):
    evidence = Evidence()
    evidence.expect(FOLDER, one(), 1)
    last = 0
    for life in lives:
        for count in sorted(life):
            evidence.take(status(1, bytes_written=count, frames_written=count, first_key_frame_at_ms=7))
            found = evidence.cameras()[0]
            assert found.bytes_written == found.frames_written >= last
            last = found.bytes_written
        evidence.recorder_gone()
        found = evidence.cameras()[0]
        assert found.state is CameraState.RECONNECTING
        assert found.first_key_frame_at == 7
    assert evidence.cameras()[0].reconnects == len(lives)


def test_a_folder_is_stopped_when_every_file_is_closed():
    evidence = Evidence()
    two = CameraSet([CameraSpec("cam-1", "rtsp://c/1"), CameraSpec("cam-2", "rtsp://c/2")], {}, 60, "f-1")
    evidence.expect(FOLDER, two, 1)
    evidence.expect(FOLDER, None, 2)
    assert not evidence.is_stopped(FOLDER)
    assert not evidence.take(CameraStopped(FOLDER, "cam-1", 1, 5))
    assert not evidence.is_stopped(FOLDER)
    assert evidence.take(CameraStopped(FOLDER, "cam-2", 1, 5))
    assert evidence.is_stopped(FOLDER)
    assert evidence.cameras() == []


def test_a_new_recorder_has_closed_what_its_predecessor_left():
    evidence = Evidence()
    evidence.expect(FOLDER, one(), 1)
    evidence.expect(FOLDER, None, 2)
    evidence.recorder_gone()
    assert not evidence.is_stopped(FOLDER)
    assert evidence.take(Ready(1, 1))
    assert evidence.is_stopped(FOLDER)


def test_only_changes_are_told_at_once():
    evidence = Evidence()
    evidence.expect(FOLDER, one(), 1)
    assert evidence.take(CameraChanged(FOLDER, "cam-1", 1, CameraState.RECORDING, "", 5))
    assert not evidence.take(CameraChanged(FOLDER, "cam-1", 1, CameraState.RECORDING, "", 6))
    assert not evidence.take(status(1, bytes_written=5))
    assert not evidence.take(CameraChanged(FOLDER, "cam-9", 1, CameraState.FAILED, "", 6))


def test_three_crashes_in_half_a_minute_are_a_crashing_recorder():
    assert recorder_state([0.0, 10.0, 29.0], 29.5) is RecorderState.CRASHING
    assert recorder_state([0.0, 10.0, 29.0], 30.0) is RecorderState.RUNNING
    assert recorder_state([0.0, 10.0], 11.0) is RecorderState.RUNNING
