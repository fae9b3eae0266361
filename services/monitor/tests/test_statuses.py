"""The status lists (M22): every verdict and every phase has its place."""

import msgspec
import pytest
from understudy_contracts.failovers import CameraTakeover, Failover, Reason, RestorationSummary
from understudy_contracts.machine import CameraEvidence, Heartbeat
from understudy_contracts.model import CameraState, Phase, Role, Status, Verdict
from understudy_contracts.servers import Server
from understudy_contracts.settings import FailoverSettings
from understudy_monitor.statuses import Spare, Subject, status_of

SERVER = Server("rs-1", "Gate", Role.RECORDING, "a", machine="m-1", pairing="all", maximum_cameras=9)
SPARE = Server("fs-1", "Spare", Role.FAILOVER, "a", machine="m-2")
BEAT = Heartbeat(
    machine="m-1",
    site="a",
    boot="b",
    sequence=1,
    sent_at=0,
    settings_version=4,
    cameras=[
        CameraEvidence("cam-1", CameraState.RECORDING),
        CameraEvidence("cam-2", CameraState.RECONNECTING),
    ],
)


def failover(phase: Phase) -> Failover:
    return Failover(
        id="f-3",
        epoch=3,
        server="rs-1",
        server_name="Gate",
        site="a",
        machine="m-1",
        reason=Reason("disconnected", "connection lost"),
        automatic=True,
        settings=FailoverSettings(),
        phase=phase,
        created_at=0,
        phase_since=0,
        failover_server="fs-1",
        failover_server_name="Spare",
        failover_machine="m-2",
        cameras=[
            CameraTakeover("cam-1", CameraState.RECORDING),
            CameraTakeover("cam-2", CameraState.RECORDING),
        ],
        restoration=RestorationSummary(percent=40.0),
        waiting_for="no failover server is free and fit" if phase is Phase.WAITING else "",
    )


def subject(server: Server, verdict: Verdict, *failovers: Failover) -> Subject:
    return Subject(server, verdict, f"because {verdict.value}", BEAT, failovers)


@pytest.mark.parametrize(
    ("verdict", "recording", "spare"),
    [
        (Verdict.HEALTHY, Status.NORMAL, Status.STANDBY),
        (Verdict.LATE, Status.NORMAL, Status.STANDBY),
        (Verdict.DISCONNECTED, Status.DISCONNECTED, Status.DISCONNECTED),
        (Verdict.PARTITIONED, Status.DISCONNECTED, Status.DISCONNECTED),
        (Verdict.UNKNOWN, Status.DISCONNECTED, Status.DISCONNECTED),
        (Verdict.DISABLED, Status.DISABLED, Status.DISABLED),
        (Verdict.INCOMPATIBLE, Status.INCOMPATIBLE, Status.INCOMPATIBLE),
        (Verdict.STORAGE_DAMAGED, Status.OTHERS, Status.OTHERS),
        (Verdict.STORAGE_DEGRADED, Status.OTHERS, Status.OTHERS),
        (Verdict.RECORDER_CRASHING, Status.OTHERS, Status.OTHERS),
        (Verdict.RECORDER_DISABLED, Status.OTHERS, Status.OTHERS),
        (Verdict.RECORDER_MISSING, Status.OTHERS, Status.OTHERS),
        (Verdict.NOT_RECORDING, Status.OTHERS, Status.OTHERS),
    ],
)
def test_without_a_failover_the_verdict_decides(verdict, recording, spare):
    assert status_of(subject(SERVER, verdict), []).status is recording
    assert status_of(subject(SPARE, verdict), []).status is spare


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.DONE])
def test_in_a_failover_the_phase_decides(phase):
    shown = status_of(subject(SERVER, Verdict.DISCONNECTED, failover(phase)), [])
    spare = status_of(subject(SPARE, Verdict.HEALTHY, failover(phase)), [])
    if phase in {Phase.RESTORING, Phase.CLEARING}:
        assert shown.status is Status.DISCONNECTED
        assert shown.failover is None
        assert spare.failover is not None
        assert spare.failover.percent == (40.0 if phase is Phase.RESTORING else 100.0)
    elif phase is Phase.WAITING:
        assert shown.status is Status.OTHERS
        assert "no failover server is free" in shown.reason
    else:
        assert (shown.status, shown.reason) == (Status.FAILED_OVER, "connection lost")
        assert shown.failover is not None
        assert shown.failover.partner_name == "Spare"
        assert shown.cameras_active == 2
    assert spare.status is Status.FAILED_OVER
    assert spare.failover is not None
    assert spare.failover.partner_name == "Gate"


def test_a_disabled_server_is_disabled_whatever_else_is_the_matter():
    server = msgspec.structs.replace(SERVER, disabled=True)
    shown = status_of(subject(server, Verdict.DISCONNECTED, failover(Phase.ACTIVE)), [])
    assert shown.status is Status.DISABLED


def test_a_machine_that_is_gone_has_no_active_cameras():
    assert status_of(subject(SERVER, Verdict.HEALTHY), []).cameras_active == 1
    assert status_of(subject(SERVER, Verdict.DISCONNECTED), []).cameras_active == 0


@pytest.mark.parametrize(
    ("spare", "protected", "missing"),
    [
        (Spare(SPARE, Verdict.HEALTHY, None, {"rs-1": 4}), True, ""),
        (Spare(SPARE, Verdict.HEALTHY, None, {"rs-1": 3}), False, "Spare: settings not staged yet"),
        (Spare(SPARE, Verdict.HEALTHY, None, {}), False, "Spare: settings not staged yet"),
        (Spare(SPARE, Verdict.HEALTHY, "f-9", {"rs-1": 4}), False, "Spare: busy with f-9"),
        (Spare(SPARE, Verdict.DISCONNECTED, None, {"rs-1": 4}), False, "Spare: disconnected"),
    ],
)
def test_protected_means_that_somebody_could_take_over_now(spare, protected, missing):
    shown = status_of(subject(SERVER, Verdict.HEALTHY), [spare])
    assert (shown.protected, shown.protection) == (protected, missing)


def test_unpaired_is_unprotected():
    server = msgspec.structs.replace(SERVER, pairing=[])
    shown = status_of(subject(server, Verdict.HEALTHY), [Spare(SPARE, Verdict.HEALTHY, None, {"rs-1": 9})])
    assert (shown.protected, shown.protection) == (False, "paired with no failover server")
