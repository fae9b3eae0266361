"""The plan, walked through a simulated world: interrupted at every point, it goes on to the end (P4).

The world here is data that the moves change, as the machines and services would; nothing of ours is replaced.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from understudy_contracts.failovers import CameraTakeover, Failover, PhaseEntry, Reason
from understudy_contracts.machine import (
    CameraEvidence,
    Duty,
    Heartbeat,
    OwnCameras,
    Serving,
    Standby,
    StoodDown,
)
from understudy_contracts.model import Action, CameraState, Outcome, Phase, Restoration, StorageState, Verdict
from understudy_contracts.restorations import RestorationJob
from understudy_contracts.servers import ServerVerdict
from understudy_contracts.settings import FailoverSettings
from understudy_orchestrator.moves import Assign, Enter, Move, Step, Succeed, Update, Wait
from understudy_orchestrator.plan import next_move
from understudy_orchestrator.selection import Candidate
from understudy_orchestrator.step_records import begin_step, end_step
from understudy_orchestrator.transitions import TRANSITIONS, may_follow, mermaid
from understudy_orchestrator.world import MachineView, World

SPARE = Candidate("fs-1", "Spare", "a", "m-2", 10, Verdict.HEALTHY, StorageState.NORMAL)


@dataclass
class Site:
    """An original with two cameras and one failover server, as plain state."""

    failover: Failover
    now_ms: int = 1_000_000
    original_up: bool = False
    spare_up: bool = True
    original_duty: Duty = field(default_factory=OwnCameras)
    spare_duty: Duty = field(default_factory=Standby)
    keys_at: str = "rs-1"
    job: RestorationJob | None = None
    footage_on_spare: bool = False
    footage_home: bool = False
    healthy_since: int | None = None
    spare_free: bool = True
    holder: Phase | None = None
    dark: list[str] = field(default_factory=list)

    def world(self) -> World:
        return World(
            now_ms=self.now_ms,
            original_machine="m-1",
            original=self._view("m-1", self.original_duty, self.original_up, None),
            stand_in=self._view("m-2", self.spare_duty, self.spare_up, self.failover.id),
            original_verdict=ServerVerdict(
                server="rs-1",
                machine="m-1",
                verdict=Verdict.HEALTHY if self.original_up else Verdict.DISCONNECTED,
                action=Action.NONE,
                reason="",
                since=0,
                healthy_since=self.healthy_since,
            ),
            stand_in_verdict=ServerVerdict(
                server="fs-1",
                machine="m-2",
                verdict=Verdict.HEALTHY if self.spare_up else Verdict.DISCONNECTED,
                action=Action.NONE,
                reason="",
                since=0,
            ),
            restoration=self.job,
            candidates=[dataclasses.replace(SPARE, busy_with=None if self.spare_free else "f-9")],
            cameras=2,
            holder=self.holder,
        )

    def _view(self, machine: str, duty: Duty, up: bool, failover: str | None) -> MachineView:
        cameras = []
        if isinstance(duty, OwnCameras | Serving):
            cameras = [
                CameraEvidence(
                    camera, CameraState.RECORDING, failover, connected_at=1, first_key_frame_at=self.now_ms
                )
                for camera in ("cam-1", "cam-2")
            ]
        heartbeat = Heartbeat(
            machine=machine, site="a", boot="b", sequence=1, sent_at=0, duty=duty, cameras=cameras
        )
        return MachineView(heartbeat, 0.1 if up else 60.0)

    @property
    def someone_records(self) -> bool:
        original = self.original_up and isinstance(self.original_duty, OwnCameras)
        return original or (self.spare_up and isinstance(self.spare_duty, Serving))

    def original_returns(self) -> None:
        self.original_up = True
        self.healthy_since = self.now_ms

    def write(self, changes: dict[str, object]) -> None:
        phase = changes.get("phase", self.failover.phase)
        entered: dict[str, object] = {}
        if phase is not self.failover.phase:
            assert isinstance(phase, Phase)
            assert may_follow(self.failover.phase, phase)
            entered = {
                "phase_since": self.now_ms,
                "steps_before_phase": max((s.number for s in self.failover.steps), default=0),
                "phases": [*self.failover.phases, PhaseEntry(phase, self.now_ms)],
            }
        self.failover = msgspec.structs.replace(self.failover, **{**entered, **changes})

    def act(self, name: str) -> dict[str, object]:
        """What the step does out there."""
        id_ = self.failover.id
        recorded_before = self.someone_records
        changes: dict[str, object] = {}
        match name:
            case "move-keys":
                self.keys_at = "fs-1"
            case "return-keys":
                self.keys_at = "rs-1"
            case "open-copy":
                changes = {
                    "cameras": [CameraTakeover("cam-1"), CameraTakeover("cam-2")],
                    "settings_version": 3,
                }
            case "activate":
                assert self.keys_at == "fs-1"
                self.spare_duty = Serving(id_, "rs-1", 3, ["cam-1", "cam-2"])
                self.footage_on_spare = True
            case "stand-down":
                self.original_duty = StoodDown(id_)
            case "resume-original":
                self.original_duty = OwnCameras()
            case "release":
                self.spare_duty = Standby()
            case "start-restoration":
                self.job = RestorationJob(id_, 1, 1, "rs-1", "m-2", "m-1", "running", 0)
            case "halt-restoration":
                assert self.job is not None
                self.job = msgspec.structs.replace(self.job, state="stopped")
            case "clear-footage":
                given_up = self.failover.stop_restoration_requested or (
                    self.failover.settings.restoration is Restoration.DISCARD
                )
                assert self.footage_home or given_up
                assert not isinstance(self.spare_duty, Serving)  # the agent refuses: it still writes there
                self.footage_on_spare = False
            case "permit-original" | "permit-stand-in" | "close-copy":
                pass
            case _:
                raise AssertionError(name)
        if recorded_before and not self.someone_records:
            self.dark.append(name)
        return changes

    def carry_out(self, move: Move, crash: str | None = None) -> None:
        """As the driver does; `crash` is `before` or `after` the effect: the record of its end is lost."""
        match move:
            case Step(name=name):
                records, number = begin_step(self.failover, name, self.now_ms)
                self.write({"steps": records})
                if crash == "before":
                    return
                changes = self.act(name)
                if crash == "after":
                    return
                self.write({**changes, "steps": end_step(self.failover, number, self.now_ms, "")})
            case Enter(phase=phase, changes=changes):
                self.write({**changes, "phase": phase})
            case Update(changes=changes):
                self.write(changes)
            case Assign(candidate=candidate):
                self.write(
                    {
                        "phase": Phase.LICENSING,
                        "failover_server": candidate.server,
                        "failover_machine": candidate.machine,
                    }
                )
            case Succeed():
                self.write({"phase": Phase.RESTORING})
            case Wait():
                pass

    def run(self, crashes: dict[int, str] | None = None, limit: int = 200) -> list[str]:
        """Move until it waits or is done; the names of the steps that were begun."""
        names = []
        for number in range(limit):
            self.now_ms += 50
            if self.job is not None and self.job.state == "running" and self.original_up and self.spare_up:
                self.job = msgspec.structs.replace(self.job, state="done", digest="d")
                self.footage_home = True
            move = next_move(self.failover, self.world())
            if isinstance(move, Wait):
                return names
            if isinstance(move, Step):
                names.append(move.name)
            self.carry_out(move, (crashes or {}).get(number))
        raise AssertionError(f"no end: {self.failover.phase} {names[-5:]}")


def begin(*, automatic: bool = True, stop_automatically: bool = True, **changes: object) -> Site:
    failover = Failover(
        id="f-1",
        epoch=1,
        server="rs-1",
        server_name="Gate",
        site="a",
        machine="m-1",
        reason=Reason("disconnected", "connection lost"),
        automatic=automatic,
        settings=FailoverSettings(stop_automatically=stop_automatically, settling_s=1.0),
        phase=Phase.WAITING,
        created_at=0,
        phase_since=0,
    )
    return Site(msgspec.structs.replace(failover, **changes))


def test_an_outage_and_the_return():
    site = begin()
    assert site.run() == ["move-keys", "open-copy", "activate"]
    assert site.failover.phase is Phase.ACTIVE
    assert [c.state for c in site.failover.cameras] == [CameraState.RECORDING] * 2
    assert site.failover.taken_over_at is not None
    site.original_returns()
    site.run()
    assert site.failover.phase is Phase.ACTIVE  # not before it has settled
    site.now_ms += 2000
    assert site.run() == [
        "permit-stand-in",
        "return-keys",
        "resume-original",
        "release",
        "close-copy",
        "start-restoration",
        "clear-footage",
    ]
    assert site.failover.phase is Phase.DONE
    assert site.failover.outcome is Outcome.RETURNED
    assert site.keys_at == "rs-1"
    assert site.footage_home
    assert not site.footage_on_spare
    assert site.dark == []


def test_by_hand_on_a_healthy_server_nobody_is_ever_dark():
    site = begin(automatic=False)
    site.original_up = True
    assert site.run() == ["move-keys", "permit-original", "open-copy", "activate", "stand-down"]
    assert site.failover.phase is Phase.ACTIVE
    assert isinstance(site.original_duty, StoodDown)
    site.write({"stop_requested": True})
    site.run()
    assert site.failover.phase is Phase.DONE
    assert site.dark == []


def test_without_automatic_stop_the_returned_original_stands_by_until_a_person_stops_it():
    site = begin(stop_automatically=False)
    site.run()
    site.original_returns()
    site.now_ms += 60_000
    assert site.run() == ["stand-down"]
    assert site.failover.phase is Phase.ACTIVE
    assert site.failover.original == "back"
    site.write({"stop_requested": True})
    site.run()
    assert site.failover.phase is Phase.DONE
    assert site.dark == []


def test_no_free_failover_server_is_a_wait_with_the_reason_of_each():
    site = begin()
    site.spare_free = False
    move = next_move(site.failover, site.world())
    assert move == Wait("no failover server is free and fit", {"fs-1": "busy with f-9"})
    site.original_returns()
    site.now_ms += 5000
    site.run()
    assert (site.failover.phase, site.failover.outcome) == (Phase.DONE, Outcome.RETURNED)


def test_the_loss_of_the_failover_server_makes_room_for_the_next_one():
    site = begin()
    site.run()
    site.spare_up = False
    assert isinstance(next_move(site.failover, site.world()), Succeed)
    site.run()
    assert site.failover.phase is Phase.RESTORING
    site.spare_up = True
    site.original_returns()
    site.run()
    assert site.failover.phase is Phase.DONE


def test_a_lost_failover_server_that_returns_lets_go_when_another_one_records():
    site = begin()
    site.run()
    site.spare_up, site.holder = False, Phase.WAITING
    site.run()
    assert site.failover.phase is Phase.RESTORING
    assert site.keys_at == "rs-1"
    site.spare_up = True  # it serves on, as its disk tells it
    site.run()
    assert isinstance(site.spare_duty, Serving), "nobody else records"
    wait = next_move(site.failover, site.world())
    assert isinstance(wait, Wait)
    assert "nobody else records" in wait.reason
    site.holder = Phase.ACTIVE
    site.original_returns()
    site.run()
    assert isinstance(site.spare_duty, Standby)
    assert site.failover.phase is Phase.DONE
    assert site.footage_home


def test_an_original_that_stood_down_records_again_though_the_failover_server_was_lost():
    site = begin(automatic=False)
    site.original_up = True
    site.run()
    assert isinstance(site.original_duty, StoodDown)
    site.write({"stop_requested": True})
    site.carry_out(next_move(site.failover, site.world()))
    assert site.failover.phase is Phase.HANDING_BACK
    site.spare_up = False
    site.run()
    assert isinstance(site.original_duty, OwnCameras)
    assert site.keys_at == "rs-1"
    assert site.failover.phase is Phase.RESTORING


def test_both_servers_lost_while_handing_back_makes_room_for_the_next_one():
    site = begin()
    site.run()
    site.original_returns()
    site.now_ms += 2000
    while site.failover.phase is not Phase.HANDING_BACK:
        site.carry_out(next_move(site.failover, site.world()))
    site.original_up, site.healthy_since, site.spare_up = False, None, False
    site.carry_out(next_move(site.failover, site.world()))
    assert isinstance(next_move(site.failover, site.world()), Succeed)


def test_the_original_dies_again_while_it_is_handed_back_to():
    site = begin()
    site.run()
    site.original_returns()
    site.now_ms += 2000
    while site.failover.phase is not Phase.HANDING_BACK:
        site.carry_out(next_move(site.failover, site.world()))
    site.original_up, site.healthy_since = False, None
    site.run()
    assert site.failover.phase is Phase.ACTIVE
    assert site.someone_records
    assert site.keys_at == "fs-1"


def test_a_stop_stays_asked_for_when_the_original_dies_again_on_its_way_back():
    site = begin(automatic=False)
    site.original_up = True
    site.run()
    site.write({"stop_requested": True})
    while site.failover.phase is not Phase.HANDING_BACK:
        site.carry_out(next_move(site.failover, site.world()))
    site.original_up = False
    site.run()
    assert site.failover.phase is Phase.ACTIVE
    site.original_returns()
    site.run()
    assert site.failover.phase is Phase.DONE


def test_a_confirmed_stop_without_the_original_ends_and_waits_for_it_with_the_footage():
    site = begin()
    site.run()
    site.write({"stop_requested": True})
    move = next_move(site.failover, site.world())
    assert isinstance(move, Wait)
    assert "away" in move.reason
    site.write({"stop_confirmed": True})
    site.run()
    assert site.failover.phase is Phase.RESTORING
    assert site.footage_on_spare
    site.original_returns()
    site.run()
    assert site.failover.phase is Phase.DONE
    assert site.footage_home


def test_discarded_footage_is_not_brought_home():
    site = begin(settings=FailoverSettings(restoration=Restoration.DISCARD, stop_automatically=True))
    site.run()
    site.original_returns()
    site.now_ms += 60_000
    steps = site.run()
    assert "start-restoration" not in steps
    assert not site.footage_home
    assert not site.footage_on_spare
    assert site.failover.phase is Phase.DONE


def test_a_stopped_restoration_gives_the_rest_up():
    site = begin()
    site.run()
    site.original_returns()
    site.spare_up = True
    site.now_ms += 2000
    while site.failover.phase is not Phase.RESTORING:
        site.now_ms += 50
        site.carry_out(next_move(site.failover, site.world()))
    site.carry_out(next_move(site.failover, site.world()))  # start-restoration
    site.write({"stop_restoration_requested": True})
    site.carry_out(next_move(site.failover, site.world()))
    assert site.job is not None
    assert site.job.state == "stopped"
    site.run()
    assert site.failover.phase is Phase.DONE


@given(
    crashes=st.dictionaries(st.integers(0, 40), st.sampled_from(["before", "after"]), max_size=20),
    automatic=st.booleans(),
    stops=st.booleans(),
    original_up=st.booleans(),
)
@settings(max_examples=300)
def test_crashes_anywhere_change_nothing_of_the_end(crashes, automatic, stops, original_up):
    site = begin(automatic=automatic, stop_automatically=stops)
    site.original_up = original_up and not automatic
    site.run(crashes)
    assert site.failover.phase is Phase.ACTIVE
    if not site.original_up:
        site.original_returns()
    site.now_ms += 60_000
    site.write({"stop_requested": not (automatic and stops)})
    site.run(crashes)
    assert site.failover.phase is Phase.DONE
    assert site.dark == []
    assert site.keys_at == "rs-1"
    numbers = [step.number for step in site.failover.steps]
    assert numbers == sorted(set(numbers))


@given(st.lists(st.sampled_from(["original", "spare", "stop", "confirm", "halt", "time"]), max_size=25))
@settings(max_examples=300)
def test_whatever_happens_it_ends_or_says_what_it_waits_for(happenings):
    site = begin()
    for what in happenings:
        match what:
            case "original":
                site.original_up = not site.original_up
                site.healthy_since = site.now_ms if site.original_up else None
            case "spare":
                site.spare_up = not site.spare_up
            case "stop":
                if site.failover.holds_original:
                    site.write({"stop_requested": True})
            case "confirm":
                if site.failover.holds_original and not site.original_up:
                    site.write({"stop_requested": True, "stop_confirmed": True})
            case "halt":
                if site.failover.phase is Phase.RESTORING:
                    site.write({"stop_restoration_requested": True})
            case "time":
                site.now_ms += 30_000
        site.run()
    site.original_up, site.spare_up, site.spare_free = True, True, True
    site.healthy_since = site.now_ms
    site.now_ms += 60_000
    if site.failover.holds_original:
        site.write({"stop_requested": True})
    site.run()
    assert site.failover.phase is Phase.DONE, next_move(site.failover, site.world())
    assert site.keys_at == "rs-1"
    assert isinstance(site.spare_duty, Standby)


@pytest.mark.parametrize("phase", list(Phase))
def test_every_phase_stands_in_the_table_and_in_the_diagram(phase):
    assert phase in TRANSITIONS
    assert phase.value.replace("-", "_") in mermaid()
