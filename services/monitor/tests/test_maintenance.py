"""Planned maintenance: triggers are held until its end, whatever the wall clock does, and act again after."""

import msgspec
import pytest
from understudy_contracts.machine import Heartbeat, OwnCameras, Recorder, Standby
from understudy_contracts.model import Action, RecorderState, Role, Status, Verdict
from understudy_contracts.servers import Server
from understudy_contracts.settings import FailoverSettings, TriggerSettings
from understudy_monitor.brakes import HOLD_LIMIT_S
from understudy_monitor.watch import Watch
from understudy_runtime.clock import ManualClock

SETTINGS = FailoverSettings(disconnection=TriggerSettings(after_s=2.0))
SERVER = Server("rs-1", "Gate", Role.RECORDING, "a", machine="m-1", pairing="all")
SPARE = Server("fs-1", "Spare", Role.FAILOVER, "a", machine="m-2")
TICK_S = 0.25


class Site:
    """A recording server and its spare, watched by a clock of its own; the spare always speaks."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.watch = Watch(self.clock, listening_since=self.clock.monotonic() - 60)
        self.server = SERVER
        self.speaks = True
        self.recorder = Recorder()
        self._number = 0
        self.plan(None)
        self.run(1)

    def plan(self, for_s: float | None) -> None:
        """Maintenance for so long from now, or its end."""
        until = None if for_s is None else self.clock.wall_ms() + round(for_s * 1000)
        self.server = msgspec.structs.replace(self.server, maintenance_until=until)
        self.read()

    def read(self) -> None:
        self.watch.know_servers([self.server, SPARE], SETTINGS)

    def run(self, seconds: float) -> set[Action]:
        """Let so much time pass; the actions on the server meanwhile."""
        seen = set()
        for _ in range(round(seconds / TICK_S)):
            self.clock.advance(TICK_S)
            self._number += 1
            self._beat("m-2", Standby())
            if self.speaks:
                self._beat("m-1", OwnCameras())
            self.watch.statuses_now(self.watch.look())
            seen.add(self.watch.verdicts["rs-1"].action)
        return seen

    def _beat(self, machine: str, duty: OwnCameras | Standby) -> None:
        recorder = self.recorder if machine == "m-1" else Recorder()
        self.watch.hear(
            Heartbeat(
                machine,
                "a",
                "b",
                self._number,
                0,
                version="0.1.0",
                duty=duty,
                heartbeat_s=0.5,
                recorder=recorder,
            )
        )


def test_a_server_that_is_off_for_maintenance_is_held_and_triggered_when_it_ends():
    site = Site()
    site.plan(60)
    site.speaks = False
    assert Action.TRIGGER not in site.run(59.5)
    held = site.watch.verdicts["rs-1"]
    assert (held.verdict, held.action) == (Verdict.DISCONNECTED, Action.HOLD)
    assert "(held: planned maintenance until 2027-01-15 08:01:01 UTC)" in held.reason
    shown = site.watch.statuses["rs-1"]
    assert (shown.status, shown.reason) == (Status.DISCONNECTED, held.reason)  # named once
    site.run(0.5)
    assert site.watch.verdicts["rs-1"].action is Action.TRIGGER
    assert "maintenance" not in site.watch.statuses["rs-1"].reason


def test_it_can_be_ended_early():
    site = Site()
    site.plan(3600)
    site.speaks = False
    assert Action.TRIGGER not in site.run(10)
    site.plan(None)
    assert Action.TRIGGER in site.run(TICK_S)


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_jump_of_the_wall_clock_does_not_move_its_end(hours):
    site = Site()
    site.plan(60)
    site.speaks = False
    site.run(10)
    site.clock.step_wall(hours * 3600)
    site.server = msgspec.structs.replace(site.server, name="Gate 2")
    site.read()
    assert Action.TRIGGER not in site.run(49.5)
    site.run(0.5)
    assert site.watch.verdicts["rs-1"].action is Action.TRIGGER
    site.server = msgspec.structs.replace(site.server, name="Gate 3")
    site.read()
    assert site.run(5) == {Action.TRIGGER}  # what is over does not begin again


def test_every_trigger_is_held_not_only_that_of_silence():
    site = Site()
    site.plan(30)
    site.recorder = Recorder(RecorderState.DISABLED)
    assert Action.TRIGGER not in site.run(29.5)
    assert site.watch.verdicts["rs-1"].action is Action.HOLD
    site.run(0.5)
    assert site.watch.verdicts["rs-1"].action is Action.TRIGGER


def test_a_healthy_server_shows_its_maintenance_until_it_ends():
    site = Site()
    site.plan(10)
    site.run(1)
    shown = site.watch.statuses["rs-1"]
    assert shown.status is Status.NORMAL
    assert shown.reason == "planned maintenance until 2027-01-15 08:00:11 UTC"
    site.run(9)
    assert site.watch.statuses["rs-1"].reason == ""


def test_maintenance_that_people_planned_alarms_nobody():
    site = Site()
    site.plan(HOLD_LIMIT_S + 60)
    site.speaks = False
    site.run(HOLD_LIMIT_S + 30)
    held = site.watch.verdicts["rs-1"]
    assert (held.action, held.alarm) == (Action.HOLD, False)
