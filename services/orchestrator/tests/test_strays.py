"""Who is told to record again because it stands down for nobody; with real machines in tests/faults."""

from __future__ import annotations

import msgspec
import pytest
from understudy_contracts.commands import Resume
from understudy_contracts.failovers import Failover, Reason, StepRecord
from understudy_contracts.machine import Authority, Duty, Heartbeat, OwnCameras, StoodDown
from understudy_contracts.model import Phase
from understudy_contracts.settings import FailoverSettings
from understudy_orchestrator.strays import resumption
from understudy_orchestrator.world import MachineView

ENDED = Failover(
    id="f-7",
    epoch=7,
    server="rs-1",
    server_name="Gate",
    site="a",
    machine="m-1",
    reason=Reason("manual", "manual failover"),
    automatic=False,
    settings=FailoverSettings(),
    phase=Phase.DONE,
    created_at=0,
    phase_since=0,
    keys=["k-1"],
    steps=[
        StepRecord(4, "stand-down", Phase.STANDING_DOWN, 1, 2),
        StepRecord(9, "release", Phase.DONE, 3, 4),
    ],
)


def view(duty: Duty, age_s: float = 0.1) -> MachineView:
    return MachineView(Heartbeat("m-1", "a", "b", 1, 0, duty=duty), age_s)


def in_phase(phase: Phase) -> Failover:
    return msgspec.structs.replace(ENDED, phase=phase)


@pytest.mark.parametrize("phase", list(Phase))
def test_only_when_no_failover_has_its_cameras(phase):
    # The failover that it stood down for may be an earlier one; the command is of the last one's epoch.
    command = resumption(in_phase(phase), view(StoodDown("f-3")))
    nobody_has_them = phase in {Phase.WAITING, Phase.RESTORING, Phase.CLEARING, Phase.DONE}
    assert command == (Resume(7, 10, "f-7", Authority(keys=["k-1"])) if nobody_has_them else None)


def test_not_a_machine_that_records_or_is_away_or_was_in_no_failover():
    assert resumption(ENDED, view(OwnCameras())) is None
    assert resumption(ENDED, view(StoodDown("f-7"), age_s=30)) is None
    assert resumption(ENDED, None) is None
    assert resumption(None, view(StoodDown("f-7"))) is None
