"""What a command may do to a machine's duty, in any order and repetition (promises P2, P5)."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from understudy_contracts.commands import Activate, Permit, Release, Resume, StandDown
from understudy_contracts.errors import Conflict, InvalidInput, Refused, StaleEpoch, UnderstudyError
from understudy_contracts.machine import Authority, Fence, OwnCameras, Serving, Standby, StoodDown
from understudy_contracts.model import FailoverRange, Role
from understudy_contracts.settings import Camera, CameraSource, ServerSettings, VersionedSettings
from understudy_recording_server.duty import DutyState, decide, duty_when_configured, serving_with
from understudy_recording_server.fences import pass_lane
from understudy_recording_server.settings_store import check_version
from understudy_recording_server.wanted import LEFT_OUT, SWITCHED_OFF, wanted
from understudy_runtime.grants import Grant


def server(version, *cameras, failover=None):
    return VersionedSettings("s-1", "North", version, ServerSettings(cameras=list(cameras)), failover)


def camera(id_, **more):
    return Camera(id_, id_, CameraSource("rtsp://camera/1", "u", "p"), **more)


STAGED = {"s-1": server(1, camera("cam-1")), "s-2": server(2, camera("cam-1"))}


def commands():
    epochs, steps = st.integers(0, 4), st.integers(0, 4)

    def made(kind, epoch, step, server):
        failover = f"f-{epoch}"
        match kind:
            case "activate":
                return Activate(epoch, step, failover, server, STAGED[server].version, ["cam-1"])
            case "permit":
                return Permit(epoch, step, "token")
            case "stand-down":
                return StandDown(epoch, step, failover)
            case "resume":
                return Resume(epoch, step, failover, Authority(keys=["K-1"]))
            case _:
                return Release(epoch, step, failover)

    kinds = st.sampled_from(["activate", "permit", "stand-down", "resume", "release"])
    return st.builds(made, kinds, epochs, steps, st.sampled_from(sorted(STAGED)))


def carried_out(state, command):
    permit = Grant("permit", "m-1", 99, failover=f"f-{command.epoch}", epoch=command.epoch)
    try:
        return decide(state, command, STAGED, permit)
    except UnderstudyError:
        return None


@given(role=st.sampled_from(Role), sequence=st.lists(commands(), max_size=40))
@settings(max_examples=400)
def test_an_older_command_never_acts_in_whatever_order_they_come(role, sequence):
    state = DutyState(role, OwnCameras() if role is Role.RECORDING else Standby())
    highest = Fence()
    for command in sequence:
        came = Fence(command.epoch, command.step)
        after = carried_out(state, command)
        if after is None:
            continue
        assert came >= highest
        highest = came
        assert after.fence == highest
        # A repeat of what was carried out ends in the same state.
        assert carried_out(after, command) == after
        state = after
        if role is Role.RECORDING:
            assert isinstance(state.duty, OwnCameras | StoodDown)
        else:
            assert isinstance(state.duty, Standby | Serving)


@given(steps=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 5)), max_size=40))
def test_lanes_of_failovers_do_not_mix_and_never_go_back(steps):
    lanes: dict[str, int] = {}
    for epoch, step in steps:
        failover = f"f-{epoch}"
        before = dict(lanes)
        try:
            lanes = pass_lane(lanes, failover, epoch, step)
        except StaleEpoch:
            assert step < before[failover]
            continue
        assert lanes == {**before, failover: step}
        assert step >= before.get(failover, 0)
    with pytest.raises(InvalidInput):
        pass_lane(lanes, "f-1", 2, 9)


def test_a_failover_of_another_epoch_is_not_believed():
    with pytest.raises(InvalidInput, match="epoch 9 is not that of f-1"):
        decide(DutyState(Role.RECORDING, OwnCameras()), StandDown(9, 1, "f-1"), {})


def test_cameras_that_nobody_knows_are_not_promised():
    with pytest.raises(InvalidInput, match="no camera 'cam-7'"):
        decide(DutyState(Role.FAILOVER, Standby()), Activate(1, 1, "f-1", "s-1", 1, ["cam-7"]), STAGED)


def test_a_permit_must_be_for_this_epoch():
    state = DutyState(Role.RECORDING, OwnCameras(), Fence(1, 1))
    with pytest.raises(Refused):
        decide(state, Permit(2, 1, "token"), {}, Grant("permit", "m-1", 99, failover="f-1", epoch=1))


@pytest.mark.parametrize(
    ("duty", "role", "expected"),
    [
        (OwnCameras(), Role.RECORDING, OwnCameras()),
        (Standby(), Role.RECORDING, OwnCameras()),
        (StoodDown("f-1"), Role.RECORDING, StoodDown("f-1")),
        (OwnCameras(), Role.FAILOVER, Standby()),
        (Serving("f-1", "s-1", 1), Role.FAILOVER, Serving("f-1", "s-1", 1)),
    ],
)
def test_configuring_again_does_not_interrupt_a_failover(duty, role, expected):
    assert duty_when_configured(duty, role) == expected


def test_a_serving_machine_cannot_become_a_recording_server():
    with pytest.raises(Conflict, match="f-1"):
        duty_when_configured(Serving("f-1", "s-1", 1), Role.RECORDING)


def test_a_full_failover_except_recording_only_watches():
    duty = Serving("f-3", "s-1", 1, ["cam-1", "cam-2"], FailoverRange.FULL_EXCEPT_RECORDING)
    staged = {"s-1": server(1, camera("cam-1"), camera("cam-2", enabled=False), camera("cam-3"))}
    sets = wanted(duty, None, staged)
    assert list(sets) == ["failovers/f-3"]
    only = sets["failovers/f-3"]
    assert [(spec.id, spec.record) for spec in only.cameras] == [("cam-1", False)]
    assert only.off == {"cam-2": SWITCHED_OFF, "cam-3": LEFT_OUT}


def test_nothing_runs_on_standby_or_after_standing_down():
    own, staged = server(1, camera("cam-1")), {"s-1": server(1, camera("cam-1"))}
    assert wanted(Standby(), own, staged) == {}
    assert wanted(StoodDown("f-1"), own, staged) == {}
    assert wanted(OwnCameras(), None, staged) == {}
    assert [spec.record for spec in wanted(OwnCameras(), own, staged)[""].cameras] == [True]
    silent = server(2, camera("cam-1", recording="off"))
    assert [spec.record for spec in wanted(OwnCameras(), silent, {})[""].cameras] == [False]


def test_cameras_that_are_new_in_an_edit_are_served_up_to_the_capacity():
    before = ServerSettings(cameras=[camera("cam-1"), camera("cam-2"), camera("cam-3")])
    duty = Serving("f-1", "s-1", 1, ["cam-1", "cam-2"])
    after = server(2, camera("cam-2"), camera("cam-3"), camera("cam-4"), camera("cam-5"))
    edited = serving_with(duty, before, after, 2)
    assert edited == Serving("f-1", "s-1", 2, ["cam-2", "cam-4"])
    assert serving_with(duty, before, after, 0).cameras == ["cam-2", "cam-4", "cam-5"]


def test_a_repeated_activation_does_not_undo_an_edit():
    edited = Serving("f-1", "s-1", 3, ["cam-1", "cam-9"])
    state = DutyState(Role.FAILOVER, edited, Fence(1, 2))
    again = decide(
        state,
        Activate(1, 2, "f-1", "s-1", 2, ["cam-1"]),
        {"s-1": server(3, camera("cam-1"), camera("cam-9"))},
    )
    assert again.duty == edited


def test_versions_never_go_back_but_a_copy_ends():
    original, copy = server(3, camera("cam-1")), server(5, camera("cam-2"), failover="f-1")
    assert check_version(None, original)
    assert not check_version(original, original)
    assert check_version(original, copy)
    assert check_version(copy, original)
    with pytest.raises(StaleEpoch):
        check_version(copy, original, operated=True)
    with pytest.raises(StaleEpoch):
        check_version(server(6), original)
    with pytest.raises(Conflict, match="other content"):
        check_version(original, server(3, camera("cam-2")))
    assert check_version(original, msgspec.structs.replace(original, failover="f-1"))
