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
from understudy_monitor.actions import Silence, decide, suspect_ourselves
from understudy_monitor.evidence import Evidence, add_heartbeat
from understudy_monitor.verdicts import Listening, judge
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


def test_silence_counts_only_from_when_the_monitor_could_hear():
    evidence = evidence_of(beat(), at=100.0)
    assert judge(SERVER, evidence, SETTINGS, Listening(160.0), Verdict.HEALTHY, 161.0).verdict is not (
        Verdict.DISCONNECTED
    )
    assert judge(SERVER, evidence, SETTINGS, Listening(160.0), Verdict.HEALTHY, 162.0).verdict is (
        Verdict.DISCONNECTED
    )
    cut_off = Listening(0, connected=False)
    assert judge(SERVER, evidence, SETTINGS, cut_off, Verdict.HEALTHY, 999.0).verdict is Verdict.HEALTHY


def test_a_restarted_monitor_neither_forgets_an_outage_nor_triggers_early():
    remembered = Evidence(seen_before=True, last_seen_ms=5)
    early = judge(SERVER, remembered, SETTINGS, Listening(100), Verdict.DISCONNECTED, 100.5)
    assert early.verdict is Verdict.DISCONNECTED
    early = judge(SERVER, remembered, SETTINGS, Listening(100), Verdict.HEALTHY, 100.5)
    assert early.verdict is Verdict.HEALTHY
    late = judge(SERVER, remembered, SETTINGS, Listening(100), Verdict.HEALTHY, 102.1)
    assert late.verdict is Verdict.DISCONNECTED


def test_a_server_that_was_never_seen_does_not_trigger():
    finding = judge(SERVER, Evidence(), SETTINGS, Listening(0), Verdict.UNKNOWN, 1e6)
    assert finding.verdict is Verdict.UNKNOWN


def test_a_recorder_that_says_it_records_while_nothing_grows():
    camera = CameraEvidence("cam-1", CameraState.RECORDING, bytes_written=10)
    evidence = evidence_of(beat(cameras=[camera]), at=100.0)
    for sequence in range(2, 13):
        evidence = add_heartbeat(evidence, beat(sequence, cameras=[camera]), 98.5 + sequence / 2 + 1, 0)
    now = evidence.heard_at
    assert now is not None
    assert judge(SERVER, evidence, SETTINGS, Listening(0), Verdict.HEALTHY, now).verdict is (
        Verdict.NOT_RECORDING
    )
    grown = msgspec.structs.replace(camera, bytes_written=20)
    evidence = add_heartbeat(evidence, beat(99, cameras=[grown]), now + 0.5, 0)
    assert judge(SERVER, evidence, SETTINGS, Listening(0), Verdict.HEALTHY, now + 0.5).verdict is (
        Verdict.HEALTHY
    )


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
    if verdict in triggers - {Verdict.DISCONNECTED}:
        assert decide(SERVER, verdict, 4.9, on, None).action is Action.WARN


def test_degraded_storage_triggers_only_where_that_is_set():
    assert decide(SERVER, Verdict.STORAGE_DEGRADED, 3600, SETTINGS, None).action is Action.WARN


def test_when_most_machines_vanish_together_the_host_suspects_itself():
    def silence(site: str, role: Role, *silent: bool) -> list[Silence]:
        return [Silence(site, role, s) for s in silent]

    gone = {
        str(n): machine
        for n, machine in enumerate(
            [
                *silence("a", Role.RECORDING, True, True),
                *silence("a", Role.FAILOVER, True),
                *silence("b", Role.RECORDING, True, True, True),
                *silence("b", Role.FAILOVER, False),
            ]
        )
    }
    held = suspect_ourselves(gone)
    assert set(held) == {"a"}  # at b a failover server answers: that site is not cut off
    one = {"1": Silence("a", Role.RECORDING, True), "2": Silence("a", Role.FAILOVER, False)}
    assert suspect_ourselves(one) == {}
    assert suspect_ourselves({}) == {}


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


def test_a_monitor_that_stood_still_does_not_blame_the_machines():
    clock = ManualClock()
    watch = Watch(clock, listening_since=clock.monotonic())
    watch.know_servers([SERVER, SPARE], SETTINGS)
    watch.hear(beat(1))
    watch.look()
    clock.advance(60)  # stopped, and resumed
    watch.look()
    assert watch.verdicts["rs-1"].verdict is not Verdict.DISCONNECTED


@given(st.lists(st.integers(1, 30), max_size=40))
def test_heartbeats_doubled_and_out_of_order_never_go_back(sequences):
    evidence = Evidence()
    highest = 0
    for at, sequence in enumerate(sequences):
        evidence = add_heartbeat(evidence, beat(sequence), float(at), 0)
        highest = max(highest, sequence)
        assert evidence.heartbeat is not None
        assert evidence.heartbeat.sequence == highest
