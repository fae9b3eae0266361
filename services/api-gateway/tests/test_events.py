"""The event stream: in order, resumable, and closed when the login ends."""

import asyncio
import json

import httpx
import pytest
from gateway_in_tests import running_gateway
from httpx_sse import aconnect_sse


class Follower:
    """Reads events into a list, on a connection of its own."""

    def __init__(self, caller, **params):
        self._caller = caller
        self._params = params
        self.events = []
        self.connected = asyncio.Event()

    async def run(self, last_event_id=None):
        headers = dict(self._caller.headers)
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        async with httpx.AsyncClient(base_url=self._caller.http.base_url, timeout=30) as http:
            async with aconnect_sse(
                http, "GET", "/api/v1/events", headers=headers, params=self._params
            ) as source:
                assert source.response.status_code == 200, await source.response.aread()
                self.connected.set()
                async for event in source.aiter_sse():
                    self.events.append(event)

    async def until(self, name):
        async with asyncio.timeout(10):
            while not [event for event in self.events if event.event == name]:
                await asyncio.sleep(0.01)
        return [event for event in self.events if event.event == name]


@pytest.fixture
async def follow():
    tasks = []

    async def begin(caller, last_event_id=None, **params):
        follower = Follower(caller, **params)
        follower.task = asyncio.create_task(follower.run(last_event_id))
        tasks.append(follower.task)
        async with asyncio.timeout(10):
            await follower.connected.wait()
        return follower

    yield begin
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_happens_is_told_with_its_envelope(admin, follow):
    follower = await follow(admin)
    await admin.add_recording_server("North")
    (event,) = await follower.until("server.added")
    envelope = json.loads(event.data)
    assert (envelope["kind"], envelope["subject"], envelope["sequence"]) == ("server", "north", 1)
    assert envelope["data"]["server"]["name"] == "North"
    await follower.until("user.added-server")


async def test_a_reader_resumes_where_it_was_cut_off(admin, follow):
    first = await follow(admin, kinds="server")
    await admin.add_recording_server("One")
    (event,) = await first.until("server.added")
    first.task.cancel()
    for name in ("Two", "Three"):
        await admin.add_recording_server(name)
    await admin.call("PATCH", "/servers/two", json={"priority": 1}, expect=200)
    second = await follow(admin, last_event_id=event.id, kinds="server")
    await second.until("server.changed")
    assert [json.loads(event.data)["subject"] for event in second.events] == ["two", "three", "two"]
    ids = [int(event.id) for event in second.events]
    assert ids == sorted(ids)
    assert ids[0] > int(event.id)


async def test_a_reader_that_comes_too_late_is_told_to_read_anew(admin, follow):
    for name in ("One", "Two", "Three"):
        await admin.add_recording_server(name)
    follower = await follow(admin, last_event_id="0", kinds="server")
    async with asyncio.timeout(10):
        while len(follower.events) < 3:
            await asyncio.sleep(0.01)
    assert [event.event for event in follower.events] == ["server.added"] * 3
    late = await follow(admin, last_event_id="999999", kinds="server")
    await late.until("reset")
    await admin.add_recording_server("Four")
    (event,) = await late.until("server.added")
    assert json.loads(event.data)["subject"] == "four"


async def test_changed_defaults_are_told_and_no_server_is_called_that(admin, follow):
    follower = await follow(admin, kinds="server")
    await admin.call("PUT", "/failover-settings", json={"stop_automatically": True}, expect=200)
    (event,) = await follower.until("server.defaults")
    assert json.loads(event.data)["subject"] == "defaults"
    assert json.loads(event.data)["data"] == {"by": "admin"}
    assert (await admin.add_recording_server("Defaults"))["server"]["id"] == "defaults-2"


async def test_kinds_are_chosen_and_users_are_the_administrators_business(gateway, admin, follow):
    body = {"username": "vera", "password": "long enough 1", "role": "viewer"}
    await admin.call("POST", "/users", json=body, expect=201)
    viewer = await gateway.log_in("vera", "long enough 1")
    everything, own = await follow(admin), await follow(viewer)
    await admin.add_recording_server("North")
    await admin.add_recording_server("South")
    await everything.until("user.added-server")
    async with asyncio.timeout(10):
        while len(own.events) < 2:
            await asyncio.sleep(0.01)
    assert [event.event for event in own.events] == ["server.added"] * 2


async def test_the_stream_ends_with_the_login(gateway, admin, follow):
    other = await gateway.log_in()
    follower = await follow(other)
    await other.call("DELETE", "/session", expect=204)
    await asyncio.wait_for(follower.task, 10)


async def test_open_streams_do_not_hold_up_the_end_of_the_process(host, database, follow):
    async with running_gateway(host) as gateway:
        follower = await follow(await gateway.log_in())
    await asyncio.wait_for(asyncio.gather(follower.task, return_exceptions=True), 5)


async def test_a_reader_that_goes_is_forgotten(gateway, admin, follow):
    follower = await follow(admin)
    assert "understudy_event_readers 1.0" in (await gateway.http.get("/metrics")).text
    follower.task.cancel()
    async with asyncio.timeout(10):
        while "understudy_event_readers 0.0" not in (await gateway.http.get("/metrics")).text:
            await asyncio.sleep(0.02)
