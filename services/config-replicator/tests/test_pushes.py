"""The decision what a machine needs: pure."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_config_replicator.desired import Desired, desired_states, heartbeat_interval
from understudy_config_replicator.pushes import pending_pushes
from understudy_contracts.commands import Configure, Stage, Unstage
from understudy_contracts.machine import Heartbeat, PeerSighting, Serving
from understudy_contracts.model import Role
from understudy_contracts.servers import Server
from understudy_contracts.settings import (
    FailoverSettings,
    MachineConfiguration,
    Peer,
    ServerSettings,
    StorageTrigger,
    TriggerSettings,
    VersionedSettings,
)

OFF = FailoverSettings(TriggerSettings(False), StorageTrigger(False), TriggerSettings(False))


def versioned(server, version, failover=None):
    return VersionedSettings(server, server.title(), version, ServerSettings(), failover)


def beat(**fields):
    return Heartbeat(machine="m-1", site="site-a", boot="b", sequence=1, sent_at=1, **fields)


RECORDING = Desired(MachineConfiguration("north", "North", Role.RECORDING), versioned("north", 3))
SPARE = Desired(
    MachineConfiguration("spare", "Spare", Role.FAILOVER),
    staged={"north": versioned("north", 3), "south": versioned("south", 1)},
)
WELL = {"configured": True, "server": "north", "role": Role.RECORDING, "settings_version": 3}
READY = {"configured": True, "server": "spare", "role": Role.FAILOVER, "staged": {"north": 3, "south": 1}}


def test_nothing_is_sent_to_a_machine_that_has_it_all():
    assert pending_pushes(RECORDING, beat(**WELL)) == []
    assert pending_pushes(SPARE, beat(**READY)) == []


@pytest.mark.parametrize(
    "difference",
    [
        {"configured": False},
        {"server": "south"},
        {"role": Role.FAILOVER},
        {"disabled": True},
        {"heartbeat_s": 0.5},
        {"settings_version": 2},
    ],
)
def test_each_difference_is_configured_away(difference):
    pending = pending_pushes(RECORDING, beat(**{**WELL, **difference}))
    assert pending == [Configure(RECORDING.configuration, RECORDING.settings)]


def test_a_machine_with_something_newer_is_left_alone():
    assert pending_pushes(RECORDING, beat(**{**WELL, "settings_version": 4})) == []
    assert pending_pushes(SPARE, beat(**{**READY, "staged": {"north": 9, "south": 1}})) == []


def test_a_rename_is_told_once_more_to_those_who_hold_the_name():
    assert pending_pushes(RECORDING, beat(**WELL), {"north"}) == [
        Configure(RECORDING.configuration, RECORDING.settings)
    ]
    assert pending_pushes(SPARE, beat(**READY), {"south"}) == [Stage(versioned("south", 1))]


def test_what_is_served_stays_staged_when_it_is_no_longer_paired():
    staged = {**READY["staged"], "east": 1, "west": 2}
    heartbeat = beat(**{**READY, "staged": staged}, duty=Serving("f-1", "east", 1))
    assert pending_pushes(SPARE, heartbeat) == [Unstage("west")]


IDS = st.sampled_from(["north", "south", "east", "west"])


@given(
    st.dictionaries(IDS, st.integers(0, 3)),
    st.dictionaries(IDS, st.integers(0, 3)),
    st.booleans(),
    st.none() | IDS,
)
def test_carrying_the_pushes_out_leaves_nothing_to_push(wanted, held, configured, served):
    desired = Desired(SPARE.configuration, staged={s: versioned(s, v) for s, v in wanted.items()})
    duty = Serving("f-1", served, 1) if served else Heartbeat.duty
    heartbeat = beat(**{**READY, "configured": configured, "staged": held})
    if served:
        heartbeat = msgspec.structs.replace(heartbeat, duty=duty)
    for command in pending_pushes(desired, heartbeat):
        staged = dict(heartbeat.staged)
        match command:
            case Configure():
                heartbeat = msgspec.structs.replace(heartbeat, configured=True)
            case Stage(settings=settings):
                # An agent refuses what is lower than what it has.
                assert settings.version > staged.get(settings.server, -1)
                staged[settings.server] = settings.version
            case Unstage(server=server):
                del staged[server]
        heartbeat = msgspec.structs.replace(heartbeat, staged=staged)
    assert pending_pushes(desired, heartbeat) == []


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (FailoverSettings(), 1.0),
        (FailoverSettings(TriggerSettings(after_s=2)), 0.4),
        (FailoverSettings(recorder=TriggerSettings(after_s=1)), 0.2),
        (FailoverSettings(TriggerSettings(False, 1), recorder=TriggerSettings(after_s=3)), 0.6),
        (FailoverSettings(TriggerSettings(after_s=3600)), 1.0),
        (OFF, 1.0),
    ],
)
def test_the_heartbeat_is_a_fifth_of_the_shortest_threshold_that_is_on(settings, expected):
    own = [Server("a", "A", Role.RECORDING, "s", failover_settings=settings)]
    assert heartbeat_interval(own, OFF) == expected
    assert heartbeat_interval([Server("a", "A", Role.RECORDING, "s")], settings) == expected
    # A failover server has no triggers of its own.
    assert heartbeat_interval([Server("a", "A", Role.FAILOVER, "s")], settings) == 1.0


def test_a_copy_takes_the_originals_place_where_it_is_operated_even_if_no_longer_paired():
    servers = [
        Server("north", "North", Role.RECORDING, "s", machine="m-1", pairing=["spare-2"]),
        Server("spare-1", "Spare 1", Role.FAILOVER, "s", machine="m-2"),
        Server("spare-2", "Spare 2", Role.FAILOVER, "s", machine="m-3"),
        Server("spare-3", "Spare 3", Role.FAILOVER, "s"),
    ]
    original, copy = versioned("north", 3), versioned("north", 5, "f-1")
    states = desired_states(servers, {"north": original}, [("m-2", copy)], FailoverSettings(), {})
    assert states.keys() == {"m-1", "m-2", "m-3"}
    assert states["m-1"].settings == original
    assert (states["m-2"].settings, dict(states["m-2"].staged)) == (None, {"north": copy})
    assert dict(states["m-3"].staged) == {"north": original}


def test_peers_are_the_paired_machines_of_the_same_site_whose_address_is_known():
    servers = [
        Server("north", "North", Role.RECORDING, "s", machine="m-1", pairing="all"),
        Server("south", "South", Role.RECORDING, "s", machine="m-2", pairing=[]),
        Server("spare-1", "Spare 1", Role.FAILOVER, "s", machine="m-3"),
        Server("spare-2", "Spare 2", Role.FAILOVER, "t", machine="m-4"),
        Server("spare-3", "Spare 3", Role.FAILOVER, "s", machine="m-5"),
    ]
    addresses = {"m-1": "http://one", "m-2": "http://two", "m-3": "http://three", "m-4": "http://four"}
    states = desired_states(servers, {}, [], FailoverSettings(), addresses)
    peers = {machine: [p.machine for p in state.configuration.peers] for machine, state in states.items()}
    assert peers == {"m-1": ["m-3"], "m-2": [], "m-3": ["m-1"], "m-4": [], "m-5": ["m-1"]}


def test_a_peer_at_a_new_address_is_told_again():
    peer = Peer("m-3", "http://three")
    configuration = MachineConfiguration("north", "North", Role.RECORDING, 1.0, peers=[peer])
    desired = Desired(configuration)
    heartbeat = Heartbeat("m-1", "s", "b", 1, 0, server="north", role=Role.RECORDING, configured=True)
    assert pending_pushes(desired, heartbeat) == [Configure(configuration)]
    seen = PeerSighting("m-3", reachable=True, age_ms=0, address="http://three")
    assert pending_pushes(desired, msgspec.structs.replace(heartbeat, peers=[seen])) == []
