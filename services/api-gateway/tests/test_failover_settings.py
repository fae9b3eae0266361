"""Failover settings over HTTP (M5 to M8): defaults, a server's own, what is refused, what asks first."""

import pytest
from monitor_in_tests import Teller, a_failover
from understudy_contracts.model import Phase, Service


@pytest.fixture
async def teller(host, database):
    async with host.bus(Service.MONITOR) as monitor, host.bus(Service.ORCHESTRATOR) as orchestrator:
        yield Teller(database, monitor, orchestrator)


async def test_failover_settings_are_the_servers_own_or_the_defaults(admin):
    await admin.add_recording_server("North")
    await admin.add_failover_server("Spare")
    defaults = await admin.get("/failover-settings")
    assert defaults["disconnection"] == {"enabled": True, "after_s": 5.0}
    changed = {**defaults, "restoration": "discard"}
    await admin.call("PUT", "/failover-settings", json=changed, expect=200)
    assert await admin.get("/servers/north/failover-settings") == {"settings": changed, "own": False}
    own = {**defaults, "stop_automatically": True, "settling_s": 30.0}
    await admin.call("PUT", "/servers/north/failover-settings", json=own, expect=200)
    assert await admin.get("/servers/north/failover-settings") == {"settings": own, "own": True}
    back = await admin.call("DELETE", "/servers/north/failover-settings", expect=200)
    assert back.json() == {"settings": changed, "own": False}
    await admin.call("DELETE", "/servers/north/failover-settings", expect=200)
    refused = await admin.call("PUT", "/servers/spare/failover-settings", json=own, expect=400)
    assert "failover server" in refused.json()["detail"]


SENSELESS = [
    ('{"disconnection": {"after_s": 0.999}}', ["disconnection.after_s", "at least 1"]),
    ('{"storage": {"after_s": 3600.001}}', ["storage.after_s", "at most 3600"]),
    ('{"recorder": {"after_s": -5}}', ["recorder.after_s", "at least 1"]),
    ('{"recorder": {"after_s": 1e400}}', ["out of range"]),
    ('{"recorder": {"after_s": 1e308}}', ["recorder.after_s", "at most 3600"]),
    ('{"recorder": {"after_s": 99999999999999999999}}', ["64 bits"]),
    ('{"recorder": {"after_s": NaN}}', ["JSON"]),
    ('{"recorder": {"after_s": Infinity}}', ["JSON"]),
    ('{"recorder": {"after_s": null}}', ["recorder.after_s", "null"]),
    ('{"recorder": {"after_s": "5"}}', ["recorder.after_s: must be a number, not a text"]),
    ('{"recorder": {"after_s": true}}', ["recorder.after_s: must be a number, not a truth value"]),
    ('{"recorder": {"after_s": [5]}}', ["recorder.after_s", "a list"]),
    ('{"recorder": {"after_m": 5}}', ["recorder", "after_m"]),
    ('{"recorder": {"enabled": 1}}', ["recorder.enabled: must be true or false"]),
    ('{"recorder": {"enabled": null}}', ["recorder.enabled: must be true or false"]),
    ('{"recorder": null}', ["recorder", "null"]),
    ('{"recorder": 5}', ["recorder", "whole number"]),
    ('{"storage": {"degraded_too": "yes"}}', ["storage.degraded_too", "true or false"]),
    ('{"recorder": {"degraded_too": true}}', ["recorder", "degraded_too"]),
    ('{"triggers": {}}', ["triggers"]),
    ('{"stop_automatically": "no"}', ["stop_automatically", "true or false"]),
    ('{"settling_s": -0.001}', ["settling_s", "at least 0"]),
    ('{"settling_s": 3601}', ["settling_s", "at most 3600"]),
    ('{"hold_down_s": 86401}', ["hold_down_s", "at most 86400"]),
    ('{"range": "half"}', ["range", "half"]),
    ('{"restoration": null}', ["restoration", "null"]),
    ("null", ["an object"]),
    ("[]", ["an object"]),
    ('"5"', ["an object"]),
    ("{", ["JSON"]),
    ("", ["no body"]),
]


async def test_what_makes_no_sense_is_refused_by_its_name(admin):
    await admin.add_recording_server("North")
    defaults = await admin.get("/failover-settings")
    headers = {"Content-Type": "application/json"}
    for path in ("/failover-settings", "/servers/north/failover-settings"):
        for body, words in SENSELESS:
            answer = await admin.call("PUT", path, content=body, headers=headers)
            assert answer.status_code == 400, body
            for word in words:
                assert word in answer.json()["detail"], body
    assert await admin.get("/servers/north/failover-settings") == {"settings": defaults, "own": False}


async def test_the_ends_of_the_range_are_good(admin):
    for seconds in (1, 1.0, 3600):
        body = {name: {"after_s": seconds} for name in ("disconnection", "storage", "recorder")}
        put = (await admin.call("PUT", "/failover-settings", json=body, expect=200)).json()
        assert put["recorder"] == {"enabled": True, "after_s": seconds}


async def test_editing_them_in_a_failover_must_be_confirmed(admin, teller):
    await admin.add_failover_server("Spare")
    await admin.add_recording_server("North", pairing="all")
    path = "/servers/north/failover-settings"
    defaults = await admin.get("/failover-settings")
    own = {**defaults, "restoration": "discard"}
    await admin.call("PUT", path, json=own, expect=200)
    await teller.failover(a_failover("north", "spare", Phase.ACTIVE))
    await admin.call("PUT", path, json=own, expect=200)  # nothing changes, so nothing is interrupted
    other = {**own, "range": "full-except-recording"}
    warnings = [
        (await admin.call("PUT", path, json=other, expect=409)).json(),
        (await admin.call("DELETE", path, expect=409)).json(),
    ]
    for warning in warnings:
        assert warning["type"] == "confirmation-required"
        assert "erases the data of Spare" in warning["destroys"]
        assert "North is not back: nobody will record its cameras" in warning["destroys"]
    await admin.call("PUT", f"{path}?confirmation=guess", json=other, expect=409)
    # No orchestrator runs here to stop the failover, so nothing is changed either.
    confirmed = await admin.call("PUT", f"{path}?confirmation={warnings[0]['confirmation']}", json=other)
    assert (confirmed.status_code, confirmed.json()["type"]) == (503, "unavailable")
    assert await admin.get(path) == {"settings": own, "own": True}
    # The defaults hold for failovers that start later.
    await admin.call("PUT", "/failover-settings", json=other, expect=200)
    back = a_failover("north", "spare", Phase.ACTIVE, original="back", revision=2)
    await teller.failover(back)
    milder = (await admin.call("PUT", path, json={**own, "settling_s": 9}, expect=409)).json()
    assert "nobody will record" not in milder["destroys"]
    await teller.failover(a_failover("north", "spare", Phase.DONE, revision=3))
    await admin.call("PUT", path, json=other, expect=200)
