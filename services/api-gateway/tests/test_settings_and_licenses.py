"""Settings, cameras and licenses, with the real config-replicator and license-broker beside the gateway."""

import json

import pytest
from gateway_in_tests import running_gateway
from service_in_tests import running_service
from understudy_contracts.model import Service
from understudy_contracts.verbs import READ_LICENSES, READ_VERSIONS, ReadLicenses, ReadVersions


@pytest.fixture
async def admin(host, database):
    async with host.bus(Service.API_GATEWAY) as bus:

        async def ask_replicator():
            await bus.ask(READ_VERSIONS, ReadVersions("nobody"))

        async def ask_broker():
            await bus.ask(READ_LICENSES, ReadLicenses())

        async with (
            running_service(host, Service.CONFIG_REPLICATOR, knock=ask_replicator),
            running_service(host, Service.LICENSE_BROKER, knock=ask_broker),
            running_gateway(host) as gateway,
        ):
            yield await gateway.log_in()


def camera(name, **more):
    source = {"url": f"rtsp://10.0.0.5/{name}", "username": "root", "password": "canary-password"}
    return {"name": name, "source": source, **more}


async def test_cameras_live_within_their_license_keys(admin):
    await admin.add_recording_server("North")
    await admin.add_recording_server("South")
    refused = (await admin.call("POST", "/servers/north/cameras", json=camera("Door"), expect=409)).json()
    assert refused["type"] == "license-missing"
    assert (refused["needed"], refused["held"]) == (1, 0)
    keys = ["KEY-0001", "KEY-0002"]
    await admin.call("POST", "/licenses", json={"keys": keys, "server": "north"}, expect=201)
    again = await admin.call("POST", "/licenses", json={"keys": keys[:1], "server": "south"})
    assert again.status_code == 409
    licenses = await admin.get("/licenses")
    assert {key["key"]: key["holder"] for key in licenses["keys"]} == dict.fromkeys(keys, "north")
    assert len(licenses["ledger"]) == 2

    door = (await admin.call("POST", "/servers/north/cameras", json=camera("Door"), expect=201)).json()
    assert door["id"].startswith("door-")
    assert door["source"]["password"] == "***"
    assert (door["state"], door["health"]) == ("unknown", None)
    await admin.call("POST", "/servers/north/cameras", json=camera("Yard", id="yard"), expect=201)
    await admin.call("POST", "/servers/north/cameras", json=camera("Yard", id="yard"), expect=409)
    await admin.call("POST", "/servers/north/cameras", json=camera("Third", id="third"), expect=409)
    await admin.call(
        "POST", "/servers/north/cameras", json=camera("Third", id="third", enabled=False), expect=201
    )
    on = await admin.call("PATCH", "/cameras/third", json={"enabled": True})
    assert on.json()["type"] == "license-missing"
    await admin.call("PATCH", "/cameras/yard", json={"enabled": False}, expect=200)
    await admin.call("PATCH", "/cameras/third", json={"enabled": True}, expect=200)
    await admin.call("DELETE", "/cameras/yard", expect=204)
    await admin.call("GET", "/cameras/yard", expect=404)
    assert (await admin.get("/cameras/third"))["server"] == "north"
    listed = await admin.get("/servers/north/cameras")
    assert [one["name"] for one in listed["items"]] == ["Door", "Third"]


async def test_passwords_go_in_and_never_come_out(admin):
    await admin.add_recording_server("North")
    await admin.call("POST", "/licenses", json={"keys": ["KEY-1"], "server": "north"}, expect=201)
    await admin.call("POST", "/servers/north/cameras", json=camera("Door", id="door"), expect=201)
    shown = await admin.get("/servers/north/settings")
    shown["settings"]["cameras"][0]["name"] = "Front door"
    shown["settings"]["io_modules"] = [
        {"id": "io", "name": "IO", "configuration": {"apiToken": "canary-token"}}
    ]
    body = {"settings": shown["settings"], "expected_version": shown["version"]}
    written = (await admin.call("PUT", "/servers/north/settings", json=body, expect=200)).json()
    assert written["version"] == shown["version"] + 1
    assert written["settings"]["cameras"][0]["source"]["password"] == "***"
    shown["settings"]["segment_s"] = 30
    stale = await admin.call("PUT", "/servers/north/settings", json=body)
    assert (stale.status_code, stale.json()["type"]) == (409, "conflict")
    source = {"url": "rtsp://10.0.0.6/x", "username": "root", "password": "***"}
    await admin.call("PATCH", "/cameras/door", json={"source": source}, expect=200)
    fresh = await admin.call("POST", "/servers/north/cameras", json={"name": "New", "source": source})
    assert fresh.status_code == 400
    assert "source.password" in fresh.json()["detail"]

    stored = await admin.get("/servers/north/settings")
    everything = [stored, await admin.get("/audit"), await admin.get("/servers/north/settings/versions")]
    everything += [await admin.get("/servers/north/cameras"), await admin.get("/cameras/door")]
    everything += [await admin.get(f"/servers/north/settings?version={written['version']}")]
    assert "canary" not in json.dumps(everything)
    assert stored["settings"]["io_modules"][0]["configuration"] == {"apiToken": "***"}


async def test_what_was_masked_is_still_there(admin, host):
    from understudy_contracts.verbs import READ_SETTINGS, ReadSettings

    await admin.add_recording_server("North")
    await admin.call("POST", "/licenses", json={"keys": ["KEY-1"], "server": "north"}, expect=201)
    await admin.call("POST", "/servers/north/cameras", json=camera("Door", id="door"), expect=201)
    shown = await admin.get("/servers/north/settings")
    shown["settings"]["segment_s"] = 30
    await admin.call("PUT", "/servers/north/settings", json={"settings": shown["settings"]}, expect=200)
    async with host.bus(Service.API_GATEWAY) as bus:
        kept = await bus.ask(READ_SETTINGS, ReadSettings("north"))
    assert kept.settings.cameras[0].source.password == "canary-password"
    assert kept.settings.segment_s == 30


async def test_settings_that_make_no_sense_are_refused(admin):
    await admin.add_recording_server("North")
    await admin.add_failover_server("Spare")
    await admin.call("GET", "/servers/spare/settings", expect=400)
    one = {"id": "a", "name": "A", "source": {"url": "rtsp://10.0.0.5/a"}, "enabled": False}
    for settings in (
        {"cameras": [one, one]},
        {"cameras": [{**one, "extra": 1}]},
        {"cameras": [{**one, "source": {"url": "rtsp://169.254.169.254/"}}]},
        {"cameras": [{**one, "source": {"url": "rtsp://10.0.0.5/a", "extra": 1}}]},
        {"layouts": [{"id": "a", "name": "A", "configuration": {"n": 2**70}}]},
        {"segment_s": 0},
        {"unknown": []},
    ):
        answer = await admin.call("PUT", "/servers/north/settings", json={"settings": settings})
        assert answer.status_code == 400, (settings, answer.text)
    operators = {"id": "l", "name": "L", "configuration": {"$set": {"a.b": {"$ne": None}}}}
    body = {"settings": {"layouts": [operators]}}
    await admin.call("PUT", "/servers/north/settings", json=body, expect=200)
    stored = await admin.get("/servers/north/settings")
    assert stored["settings"]["layouts"][0]["configuration"] == operators["configuration"]


async def test_a_deleted_server_takes_its_settings_along(admin):
    await admin.add_recording_server("North")
    await admin.call("PUT", "/servers/north/settings", json={"settings": {"segment_s": 30}}, expect=200)
    await admin.call("DELETE", "/servers/north", expect=204)
    await admin.call("GET", "/servers/north/settings", expect=404)
    whats = [entry["what"] for entry in (await admin.get("/audit"))["items"]]
    assert whats[:2] == ["removed-server", "forgot-settings"]


async def test_a_second_stream_and_audio_are_settings_like_others(admin):
    await admin.add_recording_server("North")
    await admin.call("POST", "/licenses", json={"keys": ["KEY-1"], "server": "north"}, expect=201)
    sub = {"url": "rtsp://10.0.0.5/small", "username": "root", "password": "canary-password"}
    added = camera("Door", id="door", sub_source=sub, audio="off")
    made = await admin.call("POST", "/servers/north/cameras", json=added, expect=201)
    assert "canary-password" not in made.text
    assert made.json()["sub_source"]["password"] == "***"
    renamed = await admin.call("PATCH", "/cameras/door", json={"name": "Front door"}, expect=200)
    assert (renamed.json()["audio"], renamed.json()["sub_source"]["url"]) == ("off", sub["url"])
    assert "canary-password" not in renamed.text
    kept = {**sub, "url": "rtsp://10.0.0.5/other", "password": "***"}
    await admin.call("PATCH", "/cameras/door", json={"sub_source": kept, "audio": "copy"}, expect=200)
    for bad in [{"sub_source": {"url": "file:///etc/passwd"}}, {"sub_source": {**sub, "x": 1}}]:
        assert (await admin.call("PATCH", "/cameras/door", json=bad)).status_code in {400, 422}
    shown = await admin.get("/cameras/door")
    assert (shown["audio"], shown["sub_source"]["url"]) == ("copy", kept["url"])
    gone = await admin.call("PATCH", "/cameras/door", json={"sub_source": None}, expect=200)
    assert gone.json()["sub_source"] is None
