"""Servers, pairing, failover settings: over HTTP, with the real bus and database."""


async def test_a_server_is_added_shown_changed_and_removed(admin):
    added = await admin.add_recording_server("North gate", site="north", priority=3)
    server = added["server"]
    assert server["id"] == "north-gate"
    assert server["status"] == "others"
    assert server["reason"] == "no machine has joined yet"
    assert server["cameras"] == {"active": 0, "maximum": 100}
    assert server["failover"] is None
    assert (await admin.add_recording_server("North gate"))["server"]["id"] == "north-gate-2"
    changed = (
        await admin.call(
            "PATCH", "/servers/north-gate", json={"name": " Gate ", "maximum_cameras": 7}, expect=200
        )
    ).json()
    assert (changed["name"], changed["cameras"]["maximum"], changed["priority"]) == ("Gate", 7, 3)
    assert (await admin.get("/servers/north-gate"))["name"] == "Gate"
    listed = await admin.get("/servers?site=north")
    assert [server["id"] for server in listed["items"]] == ["north-gate"]
    assert listed["counts"]["recording"]["others"] == 2
    assert listed["counts"]["failover"]["standby"] == 0
    assert "standby" not in listed["counts"]["recording"]
    assert (await admin.call("GET", "/servers/nobody")).json()["type"] == "not-found"
