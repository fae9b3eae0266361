"""Planned maintenance over HTTP: given, shown, ended, refused."""

import time
from datetime import UTC, datetime, timedelta

from understudy_store import collections

DAY_MS = 86_400_000


def now_ms():
    return time.time_ns() // 1_000_000


async def test_maintenance_is_planned_shown_and_ended(admin, database):
    await admin.add_recording_server("North")
    assert (await admin.get("/servers/north"))["maintenance_until"] is None
    before = now_ms()
    body = {"for_s": 7200}
    until = (await admin.call("PUT", "/servers/north/maintenance", json=body, expect=200)).json()[
        "maintenance_until"
    ]
    assert before + 7_200_000 <= until <= now_ms() + 7_200_000
    assert (await admin.get("/servers/north"))["maintenance_until"] == until
    assert (await admin.get("/servers"))["items"][0]["maintenance_until"] == until
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(days=6)
    body = {"until": later.astimezone().isoformat()}
    shown = (await admin.call("PUT", "/servers/north/maintenance", json=body, expect=200)).json()
    assert shown["maintenance_until"] == later.timestamp() * 1000
    stored = await collections.servers(database).get("north")
    assert stored is not None
    assert stored.maintenance_until == shown["maintenance_until"]
    ended = await admin.call("DELETE", "/servers/north/maintenance", expect=200)
    assert ended.json()["maintenance_until"] is None
    await admin.call("DELETE", "/servers/north/maintenance", expect=200)
    audit = [(one["what"], one.get("details", {})) for one in (await admin.get("/audit"))["items"]]
    assert audit[0] == ("ended-maintenance", {})
    assert audit[1] == ("planned-maintenance", {"maintenance_until": shown["maintenance_until"]})
    assert audit[2][0] == "planned-maintenance"


async def test_maintenance_that_is_over_is_not_shown(admin, database):
    await admin.add_recording_server("North")
    await database.raw["servers"].update_one({"_id": "north"}, {"$set": {"maintenance_until": now_ms() - 1}})
    assert (await admin.get("/servers/north"))["maintenance_until"] is None


SENSELESS = [
    ({}, "either until"),
    ({"until": None}, "either until"),
    ({"until": "2100-01-01T00:00:00Z", "for_s": 60}, "either until"),
    ({"until": "2001-01-01T00:00:00Z"}, "lies in the past"),
    ({"until": "0001-01-01T00:00:00+23:59"}, "lies in the past"),
    ({"until": "9999-12-31T23:59:59-23:59"}, "seven days"),
    ({"until": "2100-01-01T00:00:00"}, "until: must be a time with its zone"),
    ({"until": "tomorrow"}, "until: must be a time with its zone"),
    ({"for_s": 0}, "for_s: must be at least 1"),
    ({"for_s": -60}, "for_s: must be at least 1"),
    ({"for_s": 8 * DAY_MS / 1000}, "for_s: must be at most 604800"),
    ({"for_s": "1h"}, "must be a number or null, not a text"),
    ({"for_s": True}, "not a truth value"),
    ({"for": 60}, "unknown field `for`"),
    ([], "an object"),
]


async def test_maintenance_that_makes_no_sense_is_refused(admin):
    await admin.add_recording_server("North")
    for body, words in SENSELESS:
        answer = await admin.call("PUT", "/servers/north/maintenance", json=body, expect=400)
        assert words in answer.json()["detail"], body
    assert (await admin.get("/servers/north"))["maintenance_until"] is None


async def test_only_recording_servers_and_only_operators(gateway, admin):
    await admin.add_failover_server("Spare")
    await admin.add_recording_server("North")
    body = {"for_s": 60}
    refused = await admin.call("PUT", "/servers/spare/maintenance", json=body, expect=400)
    assert "disable it instead" in refused.json()["detail"]
    await admin.call("PUT", "/servers/nobody/maintenance", json=body, expect=404)
    for name, role, expected in (("vera", "viewer", 403), ("otto", "operator", 200)):
        user = {"username": name, "password": "long enough 1", "role": role}
        await admin.call("POST", "/users", json=user, expect=201)
        caller = await gateway.log_in(name, "long enough 1")
        await caller.call("PUT", "/servers/north/maintenance", json=body, expect=expected)
        await caller.call("DELETE", "/servers/north/maintenance", expect=expected)
