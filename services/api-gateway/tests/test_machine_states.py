"""What the gateway keeps of the machines' words, over the real bus."""

import asyncio
import time

import msgspec
import pytest
from understudy_api_gateway.machine_states import FRESH_S, MachineStates
from understudy_contracts.machine import CameraEvidence, Heartbeat
from understudy_contracts.model import CameraState, Service
from understudy_contracts.subjects import MachineAddress, Subjects
from understudy_runtime.clock import ManualClock, SystemClock

ADDRESS = MachineAddress("site-a", "m-1")
OTHER = MachineAddress("site-a", "m-2")
REFUSED = CameraEvidence("cam-1", CameraState.REFUSED, reason="the camera refuses the login")
RECORDING = CameraEvidence("cam-1", CameraState.RECORDING, last_frame_at=5)


def word(address, sequence, *cameras, boot="b", machine=None):
    return Heartbeat(
        machine=machine or address.machine,
        site=address.site,
        boot=boot,
        sequence=sequence,
        sent_at=1,
        address=f"http://{address.machine}",
        cameras=list(cameras),
    )


class Heard:
    """States that a clock of the test rules, told what came on which subject."""

    def __init__(self):
        self.clock = ManualClock()
        self.subjects = Subjects()
        self.states = MachineStates(self.subjects, self.clock)

    def beat(self, address, sequence, *cameras, **more):
        body = msgspec.json.encode(word(address, sequence, *cameras, **more))
        self.states.hear(self.subjects.heartbeat(address), body)

    def report(self, address, sequence, *cameras):
        body = msgspec.json.encode(word(address, sequence, *cameras))
        self.states.hear(self.subjects.report(address, "state"), body)


@pytest.fixture
def heard():
    return Heard()


def test_a_word_that_comes_late_or_twice_is_passed_by(heard):
    heard.beat(ADDRESS, 5, RECORDING)
    heard.clock.advance(FRESH_S - 1)
    for sequence in (4, 5):
        heard.beat(ADDRESS, sequence, REFUSED)
    assert heard.states.cameras("m-1") == {"cam-1": RECORDING}
    heard.clock.advance(2)
    assert heard.states.cameras("m-1") is None
    heard.beat(ADDRESS, 1, REFUSED, boot="later")
    assert heard.states.cameras("m-1") == {"cam-1": REFUSED}


async def test_machines_are_heard_on_the_bus(host):
    states = MachineStates(host.subjects, SystemClock())
    async with host.bus(Service.API_GATEWAY) as gateway, host.machine_bus(ADDRESS) as machine:
        await states.listen(gateway)
        await gateway.settled()
        for subject, evidence in (
            (host.subjects.heartbeat(ADDRESS), REFUSED),
            (host.subjects.report(ADDRESS, "state"), RECORDING),
        ):
            async with asyncio.timeout(10):
                while states.cameras("m-1") != {"cam-1": evidence}:
                    await machine.say(subject, word(ADDRESS, time.monotonic_ns(), evidence))
                    await asyncio.sleep(0.02)


def test_a_camera_shows_what_its_machine_does_with_it(heard):
    assert heard.states.cameras("m-1") is None
    heard.beat(ADDRESS, 1, REFUSED)
    assert heard.states.cameras("m-1") == {"cam-1": REFUSED}
    assert heard.states.cameras("m-2") is None
    assert heard.states.cameras(None) is None
    heard.clock.advance(FRESH_S)
    assert heard.states.cameras("m-1") is None
    assert heard.states.address("m-1") == "http://m-1"  # where its footage is, if it can be reached at all
    assert heard.states.address("m-2") is None


def test_heartbeat_and_report_may_overtake_each_other(heard):
    heard.report(ADDRESS, 2, RECORDING)
    heard.beat(ADDRESS, 1, REFUSED)
    assert heard.states.cameras("m-1") == {"cam-1": RECORDING}
    heard.beat(ADDRESS, 3, REFUSED)
    assert heard.states.cameras("m-1") == {"cam-1": REFUSED}
    heard.clock.advance(0.1)
    heard.beat(ADDRESS, 1, RECORDING, boot="c")  # restarted: its count begins again
    assert heard.states.cameras("m-1") == {"cam-1": RECORDING}


def test_what_cannot_be_read_or_speaks_of_another_is_passed_by(heard):
    heard.report(ADDRESS, 1, RECORDING)
    heard.states.hear(heard.subjects.heartbeat(ADDRESS), b'{"machine": 5}')
    heard.states.hear("elsewhere", b"{}")
    assert heard.states.cameras("m-1") == {"cam-1": RECORDING}
    heard.beat(ADDRESS, 9, REFUSED, machine="m-2")
    assert heard.states.cameras("m-1") == {"cam-1": RECORDING}
    assert heard.states.cameras("m-2") is None


def test_the_machine_in_a_failover_serves_while_two_run_a_camera(heard):
    assert heard.states.serving("cam-1") is None
    taken_over = CameraEvidence("cam-1", CameraState.RECORDING, failover="f-1")
    heard.beat(OTHER, 1, taken_over)
    heard.clock.advance(1)
    heard.beat(ADDRESS, 1, RECORDING)
    serving = heard.states.serving("cam-1")
    assert serving is not None
    assert serving.machine == "m-2"
    heard.beat(OTHER, 2, CameraEvidence("cam-1", CameraState.STOPPED, failover="f-1"))
    serving = heard.states.serving("cam-1")
    assert serving is not None
    assert serving.machine == "m-1"
    assert heard.states.serving("cam") is None
    heard.clock.advance(FRESH_S)
    assert heard.states.serving("cam-1") is None
