"""Verdicts and actions: truth tables, and nothing triggers before its time."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_contracts.machine import (
    CameraEvidence,
    Heartbeat,
    OwnCameras,
    Recorder,
    Standby,
    StoodDown,
    Storage,
)
from understudy_contracts.model import Action, CameraState, RecorderState, Role, StorageState, Verdict
from understudy_contracts.servers import Server
from understudy_contracts.settings import FailoverSettings, StorageTrigger, TriggerSettings
from understudy_monitor.actions import TABLE, decide
from understudy_monitor.brakes import HOLD_LIMIT_S, Site, suspect_ourselves
from understudy_monitor.evidence import Evidence, Sighting, add_heartbeat
from understudy_monitor.verdicts import SETTLING_S, WITNESS_FRESH_S, Listening, judge
from understudy_monitor.watch import Watch
from understudy_runtime.clock import ManualClock

SERVER = Server(id="rs-1", name="Gate", role=Role.RECORDING, site="a", machine="m-1", pairing="all")
SPARE = Server(id="fs-1", name="Spare", role=Role.FAILOVER, site="a", machine="m-2")
SETTINGS = FailoverSettings(disconnection=TriggerSettings(after_s=2.0))


def beat(sequence: int = 1, machine: str = "m-1", **changes: object) -> Heartbeat:
    heartbeat = Heartbeat(
        machine=machine,
        site="a",
        boot="b",
        sequence=sequence,
        sent_at=0,
        version="0.1.0",
        duty=OwnCameras() if machine == "m-1" else Standby(),
        heartbeat_s=0.5,
    )
    return msgspec.structs.replace(heartbeat, **changes)


def evidence_of(heartbeat: Heartbeat, at: float = 100.0) -> Evidence:
    return add_heartbeat(Evidence(), heartbeat, at, 0)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, Verdict.HEALTHY),
        ({"duty": StoodDown("f-1")}, Verdict.HEALTHY),
        ({"recorder": Recorder(RecorderState.DISABLED)}, Verdict.RECORDER_DISABLED),
        ({"recorder": Recorder(RecorderState.NOT_INSTALLED)}, Verdict.RECORDER_MISSING),
        ({"recorder": Recorder(RecorderState.CRASHING)}, Verdict.RECORDER_CRASHING),
        ({"recorder": Recorder(RecorderState.INCOMPATIBLE)}, Verdict.INCOMPATIBLE),
        ({"storage": Storage(StorageState.DEGRADED)}, Verdict.STORAGE_DEGRADED),
        ({"storage": Storage(StorageState.DAMAGED)}, Verdict.STORAGE_DAMAGED),
        ({"storage": Storage(StorageState.FULL)}, Verdict.STORAGE_DAMAGED),
        ({"version": "9.0.0"}, Verdict.INCOMPATIBLE),
    ],
)
def test_a_fresh_heartbeat_is_judged_by_what_it_says(changes, verdict):
    finding = judge(SERVER, evidence_of(beat(**changes)), SETTINGS, Listening(0), Verdict.UNKNOWN, 100.1)
    assert finding.verdict is verdict


@pytest.mark.parametrize(
    ("silent_s", "verdict"),
    [(0.4, Verdict.HEALTHY), (1.3, Verdict.LATE), (2.49, Verdict.LATE), (2.5, Verdict.DISCONNECTED)],
)
def test_silence_is_late_and_then_a_disconnection(silent_s, verdict):
    finding = judge(SERVER, evidence_of(beat()), SETTINGS, Listening(0), Verdict.HEALTHY, 100.0 + silent_s)
    assert finding.verdict is verdict


def test_silence_counts_only_from_when_the_monitor_could_hear_and_had_settled():
    evidence = evidence_of(beat(), at=100.0)

    def verdict(now: float, listening: Listening) -> Verdict:
        return judge(SERVER, evidence, SETTINGS, listening, Verdict.HEALTHY, now).verdict

    deaf_until = Listening(160.0)
    assert verdict(160.0 + SETTLING_S + 1.9, deaf_until) is not Verdict.DISCONNECTED
    assert verdict(160.0 + SETTLING_S + 2.0, deaf_until) is Verdict.DISCONNECTED
    assert verdict(999.0, Listening(0, connected=False)) is Verdict.HEALTHY


def test_a_restarted_monitor_neither_forgets_an_outage_nor_triggers_early():
    remembered = Evidence(seen_before=True, last_seen_ms=5)

    def verdict(previous: Verdict, now: float) -> Verdict:
        return judge(SERVER, remembered, SETTINGS, Listening(100), previous, now).verdict

    assert verdict(Verdict.DISCONNECTED, 100.5) is Verdict.DISCONNECTED
    assert verdict(Verdict.HEALTHY, 100.5) is Verdict.HEALTHY
    assert verdict(Verdict.HEALTHY, 100.1 + SETTLING_S + 2) is Verdict.DISCONNECTED


@pytest.mark.parametrize(
    ("sighting", "verdict"),
    [
        (Sighting(at=109.5, reachable=True, records=True), Verdict.PARTITIONED),
        (Sighting(at=109.5, reachable=True, records=False), Verdict.DISCONNECTED),
        (Sighting(at=109.5, reachable=False, records=False), Verdict.DISCONNECTED),
        (Sighting(at=110 - WITNESS_FRESH_S, reachable=True, records=True), Verdict.DISCONNECTED),
    ],
)
def test_a_fresh_witness_who_sees_it_record_holds_the_trigger(sighting, verdict):
    evidence = evidence_of(beat(), at=100.0)
    finding = judge(SERVER, evidence, SETTINGS, Listening(0), Verdict.HEALTHY, 110.0, [sighting])
    assert finding.verdict is verdict
    decision = decide(SERVER, finding.verdict, 0.0, SETTINGS, None)
    assert decision.action is (Action.HOLD if verdict is Verdict.PARTITIONED else Action.TRIGGER)


def test_a_server_that_was_never_seen_does_not_trigger():
    finding = judge(SERVER, Evidence(), SETTINGS, Listening(0), Verdict.UNKNOWN, 1e6)
    assert finding.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("frames_arrive", "written", "verdict"),
    [
        (True, False, Verdict.NOT_RECORDING),
        (True, True, Verdict.HEALTHY),
        (False, False, Verdict.HEALTHY),  # the camera is silent: not the server's fault
    ],
)
def test_not_recording_is_frames_that_arrive_and_footage_that_does_not_grow(frames_arrive, written, verdict):
    evidence, now = Evidence(), 100.0
    for number in range(1, 14):
        now = 100.0 + number / 2
        camera = CameraEvidence(
            "cam-1",
            CameraState.RECORDING,
            bytes_written=number * 1000 if written else 5,
            frames_received=number * 12 if frames_arrive else 3,
        )
        evidence = add_heartbeat(evidence, beat(number, cameras=[camera]), now, 0)
    finding = judge(SERVER, evidence, SETTINGS, Listening(0), Verdict.HEALTHY, now)
    assert finding.verdict is verdict
    stood_down = add_heartbeat(evidence, beat(99, duty=StoodDown("f-1")), now, 0)
    assert judge(SERVER, stood_down, SETTINGS, Listening(0), verdict, now).verdict is Verdict.HEALTHY


@pytest.mark.parametrize(
    ("state", "frames_arrive", "verdict"),
    [
        (CameraState.FAILED, True, Verdict.NOT_RECORDING),
        (CameraState.FAILED, False, Verdict.NOT_RECORDING),  # what waits for the disk cannot count either
        (CameraState.RECORDING, False, Verdict.HEALTHY),
        (CameraState.RECONNECTING, True, Verdict.HEALTHY),
        (CameraState.REFUSED, True, Verdict.HEALTHY),
        (CameraState.LIVE, True, Verdict.HEALTHY),
        (CameraState.DISABLED, True, Verdict.HEALTHY),
    ],
)
def test_footage_that_stands_still_counts_only_where_the_server_is_to_blame(state, frames_arrive, verdict):
    evidence = Evidence()
    for number in range(1, 14):
        frames = number * 12 if frames_arrive else 3
        camera = CameraEvidence("cam-1", state, bytes_written=5, frames_received=frames)
        evidence = add_heartbeat(evidence, beat(number, cameras=[camera]), 100.0 + number / 2, 0)
    assert judge(SERVER, evidence, SETTINGS, Listening(0), Verdict.HEALTHY, 106.5).verdict is verdict


def camera_beat(number, state, written, frames):
    return beat(
        number, cameras=[CameraEvidence("cam-1", state, bytes_written=written, frames_received=frames)]
    )


@pytest.mark.parametrize("before", [CameraState.CONNECTING, CameraState.RECONNECTING, CameraState.RECORDING])
def test_a_camera_that_sends_again_after_long_is_not_behind_at_once(before):
    """Its frames are counted before its first key frame, and are told before its footage is."""
    evidence, now = Evidence(), 100.0
    for number in range(1, 60):
        now += 0.5
        evidence = add_heartbeat(evidence, camera_beat(number, before, 5, 3), now, 0)
    for number, written in enumerate([5, 5, 900], 60):
        now += 0.5
        evidence = add_heartbeat(evidence, camera_beat(number, CameraState.RECORDING, written, 17), now, 0)
        assert (
            judge(SERVER, evidence, SETTINGS, Listening(0), Verdict.HEALTHY, now).verdict is Verdict.HEALTHY
        )


@given(
    st.lists(
        st.tuples(
            st.sampled_from([CameraState.RECORDING, CameraState.RECONNECTING, CameraState.LIVE]),
            st.booleans(),
            st.integers(0, 2),
            st.sampled_from([0.25, 0.5, 2.0]),
        ),
        max_size=60,
    )
)
def test_nothing_stands_still_unless_frames_came_without_footage_for_the_set_time(steps):
    evidence, now, written, frames = Evidence(), 100.0, 0, 0
    behind_since = None
    for number, (state, grows, arrived, pause) in enumerate(steps, 1):
        now += pause
        frames += arrived
        written += grows
        evidence = add_heartbeat(evidence, camera_beat(number, state, written, frames), now, 0)
        if grows or state is not CameraState.RECORDING or number == 1:
            behind_since = None
        elif arrived and behind_since is None:
            behind_since = now
        found = judge(SERVER, evidence, SETTINGS, Listening(0), Verdict.HEALTHY, now).verdict
        if found is Verdict.NOT_RECORDING:
            assert behind_since is not None
            assert now - behind_since >= SETTINGS.recorder.after_s


@pytest.mark.parametrize(
    ("storage", "recorder", "verdict"),
    [
        (True, True, Verdict.STORAGE_DAMAGED),
        (False, True, Verdict.NOT_RECORDING),
        (True, False, Verdict.STORAGE_DAMAGED),
        (False, False, Verdict.STORAGE_DAMAGED),
    ],
)
def test_a_trigger_that_is_off_hides_no_other(storage, recorder, verdict):
    settings = FailoverSettings(
        storage=StorageTrigger(enabled=storage), recorder=TriggerSettings(enabled=recorder)
    )
    evidence = Evidence()
    for number in range(1, 14):
        camera = CameraEvidence("cam-1", CameraState.FAILED, bytes_written=5)
        heartbeat = beat(number, cameras=[camera], storage=Storage(StorageState.DAMAGED, reason="no"))
        evidence = add_heartbeat(evidence, heartbeat, 100.0 + number / 2, 0)
    assert judge(SERVER, evidence, settings, Listening(0), Verdict.HEALTHY, 106.5).verdict is verdict


def test_the_table_knows_every_verdict():
    assert set(TABLE) == set(Verdict)


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_verdict_has_an_action_and_failover_servers_never_trigger(verdict):
    on = FailoverSettings(storage=StorageTrigger(degraded_too=True))
    triggers = {
        Verdict.DISCONNECTED,
        Verdict.STORAGE_DAMAGED,
        Verdict.STORAGE_DEGRADED,
        Verdict.RECORDER_CRASHING,
        Verdict.RECORDER_DISABLED,
        Verdict.RECORDER_MISSING,
        Verdict.NOT_RECORDING,
    }
    action = decide(SERVER, verdict, 3600, on, None).action
    assert (action is Action.TRIGGER) == (verdict in triggers)
    assert decide(SPARE, verdict, 3600, on, None).action is not Action.TRIGGER
    if verdict in triggers:
        held = decide(SERVER, verdict, 3600, on, "the line is suspected")
        assert (held.action, held.reason) == (Action.HOLD, "the line is suspected")
        off = FailoverSettings(
            disconnection=TriggerSettings(enabled=False),
            storage=StorageTrigger(enabled=False),
            recorder=TriggerSettings(enabled=False),
        )
        assert decide(SERVER, verdict, 3600, off, None).action is Action.WARN
    if verdict in triggers - {Verdict.DISCONNECTED, Verdict.NOT_RECORDING}:
        assert decide(SERVER, verdict, 4.9, on, None).action is Action.WARN


def test_degraded_storage_triggers_only_where_that_is_set():
    assert decide(SERVER, Verdict.STORAGE_DEGRADED, 3600, SETTINGS, None).action is Action.WARN


def test_when_most_machines_vanish_together_the_host_suspects_itself():
    most = {"a": Site(3, 1, 3, 1), "b": Site(4, 1, 3, 0)}
    assert set(suspect_ourselves(most)) == {"a"}  # at b a failover server answers: it is not cut off
    assert suspect_ourselves({"a": Site(2, 1, 1, 0)}) == {}
    assert suspect_ourselves({}) == {}
    assert "whole site" in suspect_ourselves({"a": Site(2, 1, 2, 1), "b": Site(3, 0)})["a"]
    assert suspect_ourselves({"a": Site(1, 0, 1), "b": Site(3, 0)}) == {}


def test_a_hold_that_lasts_alarms_people():
    clock = ManualClock()
    watch = Watch(clock, listening_since=clock.monotonic() - 60)
    watch.know_servers([SERVER, SPARE], SETTINGS)
    for machine in ("m-1", "m-2"):
        watch.hear(beat(1, machine=machine))
    watch.look()
    for _ in range(int(HOLD_LIMIT_S) + 10):
        clock.advance(1.0)
        watch.look()
        if clock.monotonic() % 10 == 0:
            assert watch.verdicts["rs-1"].action is not Action.TRIGGER
    held = watch.verdicts["rs-1"]
    assert (held.action, held.alarm) == (Action.HOLD, True)
    assert "a person must look" in held.reason


@given(st.lists(st.tuples(st.floats(0.05, 1.5), st.booleans()), max_size=60), st.integers(0, 10))
def test_no_trigger_without_silence_of_the_set_time(steps, seed):
    clock = ManualClock()
    watch = Watch(clock, listening_since=clock.monotonic())
    watch.know_servers([SERVER, SPARE], SETTINGS)
    last_heard = clock.monotonic()
    for number, (pause, speaks) in enumerate(steps, start=seed):
        clock.advance(pause)
        watch.hear(beat(number, machine="m-2"))
        if speaks:
            watch.hear(beat(number))
            last_heard = clock.monotonic()
        watch.look()
        if watch.verdicts["rs-1"].action is Action.TRIGGER:
            assert clock.monotonic() - last_heard >= SETTINGS.disconnection.after_s + beat().heartbeat_s


def test_an_outage_triggers_and_a_jump_of_the_wall_clock_changes_nothing():
    clock = ManualClock()
    watch = Watch(clock, listening_since=clock.monotonic())
    watch.know_servers([SERVER, SPARE], SETTINGS)
    for number in range(1, 20):
        clock.advance(0.5)
        clock.step_wall(3600 if number % 2 else -3600)
        watch.hear(beat(number))
        watch.hear(beat(number, machine="m-2"))
        watch.look()
        assert watch.verdicts["rs-1"].verdict is Verdict.HEALTHY
    for number in range(20, 26):
        clock.advance(0.5)
        watch.hear(beat(number, machine="m-2"))
        watch.look()
    verdict = watch.verdicts["rs-1"]
    assert (verdict.verdict, verdict.action) == (Verdict.DISCONNECTED, Action.TRIGGER)
    assert watch.verdicts["fs-1"].verdict is Verdict.HEALTHY


def test_people_are_told_that_a_trigger_is_off():
    clock = ManualClock()
    watch = Watch(clock, listening_since=clock.monotonic())
    watch.know_servers([SERVER, SPARE], FailoverSettings(recorder=TriggerSettings(enabled=False)))
    watch.hear(beat(1, recorder=Recorder(RecorderState.DISABLED, reason="switched off")))
    watch.look()
    assert watch.verdicts["rs-1"].reason == "switched off (its trigger is off)"
    watch.hear(beat(2))
    watch.look()
    assert watch.verdicts["rs-1"].reason == ""


def test_a_monitor_that_stood_still_does_not_blame_the_machines():
    clock = ManualClock()
    watch = Watch(clock, listening_since=clock.monotonic())
    watch.know_servers([SERVER, SPARE], SETTINGS)
    watch.hear(beat(1))
    watch.look()
    clock.advance(60)  # stopped, and resumed
    watch.look()
    assert watch.verdicts["rs-1"].verdict is not Verdict.DISCONNECTED


def watching(settings=SETTINGS):
    clock = ManualClock()
    watch = Watch(clock, listening_since=clock.monotonic())
    watch.know_servers([SERVER, SPARE], settings)
    return clock, watch


def looked(watch, clock, seconds, number=0, **changes):
    """The verdict after so long with heartbeats that say this; without changes, in silence."""
    for step in range(int(seconds * 2)):
        clock.advance(0.5)
        watch.hear(beat(10_000 + number + step, machine="m-2"))
        if changes:
            watch.hear(beat(number + step, **changes))
        watch.look()
    return watch.verdicts["rs-1"]


OFF = Recorder(RecorderState.DISABLED)


def test_a_fault_that_was_told_once_does_not_trigger_while_nothing_is_heard():
    patient = FailoverSettings(disconnection=TriggerSettings(after_s=60.0))
    clock, watch = watching(patient)
    assert looked(watch, clock, 1, 1, recorder=OFF).verdict is Verdict.RECORDER_DISABLED
    # The bus is gone, and then it is back and the machine still silent.
    watch.connected = False
    assert looked(watch, clock, 10).action is not Action.TRIGGER
    watch.connected = True
    assert looked(watch, clock, 10).action is not Action.TRIGGER
    assert looked(watch, clock, 6, 100, recorder=OFF).action is Action.TRIGGER


def test_a_matter_that_waits_hides_none_whose_time_is_up():
    slow = FailoverSettings(storage=StorageTrigger(after_s=3600.0))
    clock, watch = watching(slow)
    lost = CameraEvidence("cam-1", CameraState.FAILED, bytes_written=5)
    damaged = Storage(StorageState.DAMAGED, reason="no")
    verdict = looked(watch, clock, 8, 1, cameras=[lost], storage=damaged)
    assert (verdict.verdict, verdict.action) == (Verdict.NOT_RECORDING, Action.TRIGGER)


def test_footage_that_stands_still_is_put_down_to_the_disk_that_is_told_of_later():
    clock, watch = watching()
    lost = CameraEvidence("cam-1", CameraState.FAILED, bytes_written=5)
    looked(watch, clock, 4, 1, cameras=[lost])
    damaged = Storage(StorageState.DAMAGED, reason="no")
    verdict = looked(watch, clock, 3, 100, cameras=[lost], storage=damaged)
    assert (verdict.verdict, verdict.action) == (Verdict.STORAGE_DAMAGED, Action.WARN)
    verdict = looked(watch, clock, 3, 200, cameras=[lost], storage=damaged)
    assert (verdict.verdict, verdict.action) == (Verdict.STORAGE_DAMAGED, Action.TRIGGER)


def test_a_matter_that_comes_and_goes_does_not_begin_another_anew():
    clock, watch = watching()
    damaged = Storage(StorageState.DAMAGED, reason="no")
    for second in range(6):
        state = RecorderState.CRASHING if second % 2 else RecorderState.RUNNING
        verdict = looked(watch, clock, 1, 1 + second * 10, storage=damaged, recorder=Recorder(state))
    assert (verdict.verdict, verdict.action) == (Verdict.STORAGE_DAMAGED, Action.TRIGGER)


def test_a_recorder_of_another_version_stays_incompatible():
    clock, watch = watching()
    lost = CameraEvidence("cam-1", CameraState.FAILED, bytes_written=5)
    recorder = Recorder(RecorderState.INCOMPATIBLE)
    verdict = looked(watch, clock, 20, 1, cameras=[lost], recorder=recorder)
    assert (verdict.verdict, verdict.action) == (Verdict.INCOMPATIBLE, Action.WARN)


@given(st.lists(st.integers(1, 30), max_size=40))
def test_heartbeats_doubled_and_out_of_order_never_go_back(sequences):
    evidence = Evidence()
    highest = 0
    for at, sequence in enumerate(sequences):
        evidence = add_heartbeat(evidence, beat(sequence), float(at), 0)
        highest = max(highest, sequence)
        assert evidence.heartbeat is not None
        assert evidence.heartbeat.sequence == highest
