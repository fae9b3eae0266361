import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_contracts.errors import InvalidInput, InvalidMessage
from understudy_recording_server.recorder.changes import changes
from understudy_recording_server.recorder.protocol import (
    Apply,
    CameraSpec,
    Shutdown,
    Stop,
    decode_command,
    encode,
)

specs = st.builds(CameraSpec, id=st.sampled_from("abcde"), url=st.sampled_from(["rtsp://1", "rtsp://2"]))
sets = st.lists(specs, unique_by=lambda spec: spec.id)


@given(sets, sets)
def test_after_the_changes_exactly_the_wanted_cameras_run(
    before: list[CameraSpec], wanted: list[CameraSpec]
) -> None:
    running = {spec.id: spec for spec in before}
    change = changes(running, wanted)
    after = {id_: spec for id_, spec in running.items() if id_ not in change.stop}
    assert all(after[id_] is running[id_] for id_ in change.keep)
    after.update({spec.id: spec for spec in change.start})
    assert after == {spec.id: spec for spec in wanted}
    assert all(running[spec.id] != spec for spec in wanted if spec.id in change.stop)


def test_a_camera_listed_twice_is_refused() -> None:
    with pytest.raises(InvalidInput):
        changes({}, [CameraSpec("a", "rtsp://1"), CameraSpec("a", "rtsp://2")])


@given(st.builds(Apply, st.just(""), sets, st.integers(0, 99)) | st.builds(Stop, st.just("failovers/f-1")))
def test_commands_survive_the_pipe(command: Apply | Stop) -> None:
    line = encode(command)
    assert line.count(b"\n") == 1
    assert decode_command(line) == command
    assert decode_command(encode(Shutdown())) == Shutdown()


def test_what_is_no_command_is_refused_without_showing_values() -> None:
    line = b'{"kind":"apply","folder":"","generation":"c4nary","cameras":[]}'
    with pytest.raises(InvalidMessage) as caught:
        decode_command(line)
    assert "c4nary" not in caught.value.message
    assert "c4nary" not in repr(CameraSpec("a", "rtsp://u:c4nary@h/", password="c4nary"))
