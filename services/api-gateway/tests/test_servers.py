"""Servers, pairing, failover settings: over HTTP, with the real bus and database."""

import asyncio

import pytest
from gateway_in_tests import running_gateway
from monitor_in_tests import Teller, a_failover, glance
from understudy_contracts.model import Phase, Role, Service, Status


@pytest.fixture
async def teller(host, database):
    async with host.bus(Service.MONITOR) as monitor, host.bus(Service.ORCHESTRATOR) as orchestrator:
        yield Teller(database, monitor, orchestrator)


async def test_a_server_is_added_shown_changed_and_removed(admin):
    added = await admin.add_recording_server("North gate", site="north", priority=3)
    server = added["server"]
    assert server["id"] == "north-gate"
    assert server["status"] == "others"
    assert server["reason"] == "no machine has joined yet"
    assert server["cameras"] == {"active": 0, "maximum": 100}
    assert server["failover"] is None
    assert (await admin.add_recording_server("North gate"))["server"]["id"] == "north-gate-2"
    change = {"name": " Gate ", "maximum_cameras": 7}
    changed = (await admin.call("PATCH", "/servers/north-gate", json=change, expect=200)).json()
    assert (changed["name"], changed["cameras"]["maximum"], changed["priority"]) == ("Gate", 7, 3)
    assert (await admin.get("/servers/north-gate"))["name"] == "Gate"
    listed = await admin.get("/servers?site=north")
    assert [server["id"] for server in listed["items"]] == ["north-gate"]
    assert listed["counts"]["recording"]["others"] == 2
    assert listed["counts"]["failover"]["standby"] == 0
    assert "standby" not in listed["counts"]["recording"]
    assert (await admin.call("GET", "/servers/nobody")).json()["type"] == "not-found"
    spare = (await admin.add_failover_server("Spare"))["server"]
    await admin.call("DELETE", f"/servers/{spare['id']}", expect=204)
    await admin.call("GET", f"/servers/{spare['id']}", expect=404)


async def test_a_failover_server_is_added_only_after_the_warning(admin):
    body = {"name": "Spare", "role": "failover"}
    warning = (await admin.call("POST", "/servers", json=body, expect=409)).json()
    assert warning["type"] == "confirmation-required"
    assert "erased" in warning["destroys"]
    token = warning["confirmation"]
    for wrong in ({"confirmation": "guess"}, {"confirmation": token, "name": "Other"}):
        await admin.call("POST", "/servers", json={**body, **wrong}, expect=409)
    await admin.call("POST", "/servers", json={**body, "confirmation": token}, expect=201)


async def test_the_view_joins_the_monitors_word(admin, teller):
    await admin.add_failover_server("Spare")
    await admin.add_recording_server("North", pairing="all")
    failover = a_failover("north", "spare", Phase.ACTIVE)
    await teller.status(
        "north",
        Role.RECORDING,
        Status.FAILED_OVER,
        reason="no sign of life",
        failover=glance(failover, "spare", "Spare", 12.5),
        cameras_active=3,
        cameras_maximum=90,
        last_seen=5,
        version="1.0",
    )
    server = await admin.get("/servers/north")
    assert server["status"] == "failed-over"
    assert server["failover"] == {
        "id": "f-1",
        "phase": "active",
        "percent": 12.5,
        "partner": "spare",
        "partner_name": "Spare",
        "waiting_for": "",
    }
    assert server["cameras"] == {"active": 3, "maximum": 90}
    assert server["failover_servers"] == ["spare"]
    listed = await admin.get("/servers?status=failed-over&role=recording")
    assert [one["id"] for one in listed["items"]] == ["north"]
    assert listed["counts"]["recording"]["failed-over"] == 1


async def test_lists_page_by_cursor_without_loss(admin):
    names = [f"Server {number}" for number in range(7)]
    await asyncio.gather(*(admin.add_recording_server(name) for name in names))
    seen, cursor = [], None
    while True:
        page = await admin.get("/servers?limit=3" + (f"&cursor={cursor}" if cursor else ""))
        seen += [server["id"] for server in page["items"]]
        assert page["counts"]["recording"]["others"] == 7
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == [f"server-{number}" for number in range(7)]


async def test_servers_added_at_once_under_one_name_have_different_ids(admin):
    added = await asyncio.gather(*(admin.add_recording_server("North") for _ in range(6)))
    ids = sorted(each["server"]["id"] for each in added)
    assert ids == ["north", *(f"north-{number}" for number in range(2, 7))]


async def test_pairing_is_with_failover_servers_only(admin):
    await admin.add_failover_server("Spare 1")
    await admin.add_recording_server("North")
    await admin.add_recording_server("South")
    put = {"failover_servers": ["spare-1", "spare-1"]}
    paired = await admin.call("PUT", "/servers/north/pairing", json=put, expect=200)
    assert paired.json() == {"failover_servers": ["spare-1"]}
    for wrong in (["south"], ["nobody"], ["north"]):
        body = {"failover_servers": wrong}
        assert (await admin.call("PUT", "/servers/north/pairing", json=body)).status_code == 400
    for body in ({"failover_servers": "some"}, {"failover_servers": ["A b"]}, {"failover_servers": None}):
        assert (await admin.call("PUT", "/servers/north/pairing", json=body)).status_code == 400
    await admin.call("PUT", "/servers/spare-1/pairing", json={"failover_servers": []}, expect=200)
    await admin.call("PUT", "/servers/spare-1/pairing", json={"failover_servers": "all"}, expect=400)
    await admin.call("PUT", "/servers/south/pairing", json={"failover_servers": "all"}, expect=200)
    await admin.add_failover_server("Spare 2")
    assert (await admin.get("/servers/south"))["failover_servers"] == ["spare-1", "spare-2"]
    assert (await admin.get("/servers/north"))["failover_servers"] == ["spare-1"]
    await admin.call("DELETE", "/servers/spare-1", expect=204)
    assert (await admin.get("/servers/north/pairing")) == {"failover_servers": []}


async def test_a_server_that_has_joined_stays_at_its_site(admin, database):
    await admin.add_recording_server("North")
    await admin.call("PATCH", "/servers/north", json={"site": "hall"}, expect=200)
    await database.raw["servers"].update_one({"_id": "north"}, {"$set": {"machine": "m-1"}})
    await admin.call("PATCH", "/servers/north", json={"site": "yard"}, expect=409)
    await admin.call("PATCH", "/servers/north", json={"site": "hall", "priority": 1}, expect=200)


async def test_disabling_a_server_in_a_failover_must_be_confirmed(admin, teller):
    await admin.add_failover_server("Spare")
    await admin.add_recording_server("North", pairing="all")
    await teller.failover(a_failover("north", "spare", Phase.ACTIVE))
    off = {"disabled": True}
    for server in ("north", "spare"):
        warning = (await admin.call("PATCH", f"/servers/{server}", json=off, expect=409)).json()
        assert warning["type"] == "confirmation-required"
        assert "erases the data of Spare" in warning["destroys"]
        await admin.call("PATCH", f"/servers/{server}?confirmation=guess", json=off, expect=409)
        removal = (await admin.call("DELETE", f"/servers/{server}", expect=409)).json()
        assert removal["confirmation"] != warning["confirmation"]
        # No orchestrator runs here to stop the failover, so nothing is disabled either.
        confirmed = f"/servers/{server}?confirmation={warning['confirmation']}"
        answer = await admin.call("PATCH", confirmed, json=off)
        assert (answer.status_code, answer.json()["type"]) == (503, "unavailable")
        assert (await admin.get(f"/servers/{server}"))["disabled"] is False
    await teller.failover(a_failover("north", "spare", Phase.DONE))
    await admin.call("PATCH", "/servers/spare", json=off, expect=200)


async def test_failovers_are_listed_newest_first_and_filtered(admin, teller):
    for epoch in range(1, 6):
        phase = Phase.ACTIVE if epoch == 5 else Phase.DONE
        await teller.failover(a_failover("north" if epoch % 2 else "south", "spare", phase, epoch=epoch))
    assert [one["id"] for one in (await admin.get("/failovers"))["items"]] == [
        "f-5",
        "f-4",
        "f-3",
        "f-2",
        "f-1",
    ]
    first = await admin.get("/failovers?server=north&limit=2")
    assert [one["id"] for one in first["items"]] == ["f-5", "f-3"]
    rest = await admin.get(f"/failovers?server=north&limit=2&cursor={first['next']}")
    assert ([one["id"] for one in rest["items"]], rest["next"]) == (["f-1"], None)
    assert [one["id"] for one in (await admin.get("/failovers?running=true"))["items"]] == ["f-5"]
    assert [one["id"] for one in (await admin.get("/failovers?phase=done&limit=1"))["items"]] == ["f-4"]
    shown = await admin.get("/failovers/f-5")
    assert [step["name"] for step in shown["steps"]] == ["move-keys", "open-copy", "activate"]
    await admin.call("GET", "/failovers/f-6", expect=404)


async def test_starting_without_an_orchestrator_is_unavailable_and_on_record(admin):
    await admin.add_recording_server("North")
    await admin.add_failover_server("Spare")
    answer = await admin.call("POST", "/servers/north/failover", json={"failover_server": None})
    assert (answer.status_code, answer.json()["detail"]) == (503, "the orchestrator is not on the bus")
    await admin.call("POST", "/servers/spare/failover", expect=400)
    await admin.call("POST", "/servers/north/failover", json={"failover_server": "north"}, expect=400)
    await admin.call("POST", "/servers/north/failover", json={"failover_server": "nobody"}, expect=404)
    entry = (await admin.get("/audit"))["items"][0]
    assert (entry["what"], entry["subject"], entry["details"]) == (
        "started-failover",
        "north",
        {"outcome": "unknown"},
    )


async def test_what_was_added_is_there_for_the_next_gateway(host, database):
    async with running_gateway(host) as first:
        await (await first.log_in()).add_recording_server("North")
    async with running_gateway(host, administrator_password="") as second:
        assert (await (await second.log_in()).get("/servers/north"))["name"] == "North"
