"""A machine joins by its token, and then is on the bus as itself."""

import asyncio

import pytest
from gateway_in_tests import running_gateway
from understudy_bus.authority import GRANT_SIGNERS, KeyPair, credentials_text
from understudy_bus.connection import connect_bus
from understudy_contracts.machine import Heartbeat
from understudy_contracts.model import Service
from understudy_contracts.subjects import MachineAddress
from understudy_runtime.configuration import BusSettings
from understudy_runtime.grants import verify_grant


async def join(gateway, token, key, **more):
    return await gateway.http.post(
        "/api/v1/join", json={"token": token, "public_key": key.public, "version": "1.0", **more}
    )


@pytest.fixture
def key():
    return KeyPair.generate_user()


async def test_a_joined_machine_speaks_as_itself_on_the_bus(gateway, admin, host, key, tmp_path):
    added = await admin.add_recording_server("North", site="hall")
    answer = await join(gateway, added["join_token"], key, maximum_cameras=90)
    assert answer.status_code == 201, answer.text
    reply = answer.json()
    assert reply["machine"].startswith("m-")
    assert (reply["server"], reply["role"], reply["site"]) == ("north", "recording", "hall")
    assert reply["erase_token"] is None
    assert reply["nats_urls"] == [host.nats_url]
    assert set(reply["trust"]) == set(GRANT_SIGNERS)
    server = await admin.get("/servers/north")
    assert (server["machine"], server["cameras"]["maximum"]) == (reply["machine"], 90)
    assert server["reason"] == "not seen yet"

    credentials = tmp_path / "machine.creds"
    credentials.write_text(credentials_text(reply["user_jwt"], key.seed))
    settings = BusSettings(
        nats_url=host.nats_url, nats_credentials=str(credentials), subject_prefix=host.subjects.prefix
    )
    address = MachineAddress("hall", reply["machine"])
    async with connect_bus(settings, reply["machine"]) as machine, host.bus(Service.MONITOR) as monitor:
        heard = asyncio.Queue()

        async def note(subject, beat):
            heard.put_nowait((subject, beat.machine))

        await monitor.hear(host.subjects.all_heartbeats, Heartbeat, note)
        await monitor.settled()
        beat = Heartbeat(machine=address.machine, site="hall", boot="b", sequence=1, sent_at=1)
        # Heartbeats may get lost, and are repeated, as agents do.
        async with asyncio.timeout(10):
            while heard.empty():
                await machine.say(host.subjects.heartbeat(address), beat)
                await asyncio.sleep(0.2)
        assert heard.get_nowait() == (host.subjects.heartbeat(address), address.machine)


async def test_a_token_is_used_once_but_a_lost_answer_can_be_asked_for_again(gateway, admin, key):
    token = (await admin.add_recording_server("North"))["join_token"]
    first = (await join(gateway, token, key)).json()
    again = (await join(gateway, token, key)).json()
    assert again["machine"] == first["machine"]
    stranger = await join(gateway, token, KeyPair.generate_user())
    assert (stranger.status_code, stranger.json()["type"]) == (403, "refused")
    assert "used" in stranger.json()["detail"]
    joined = [entry for entry in (await admin.get("/audit"))["items"] if entry["what"] == "joined"]
    assert len(joined) == 1


async def test_many_machines_with_one_token_make_one_machine(gateway, admin):
    token = (await admin.add_recording_server("North"))["join_token"]
    answers = await asyncio.gather(*(join(gateway, token, KeyPair.generate_user()) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201, *[403] * 7]


async def test_a_machine_that_comes_back_keeps_its_id_only_with_its_key(gateway, admin, key):
    token = (await admin.add_recording_server("North"))["join_token"]
    first = (await join(gateway, token, key)).json()

    async def new_token():
        answer = await admin.call("POST", "/servers/north/join-token", expect=201)
        return answer.json()["join_token"]

    thief = await join(gateway, await new_token(), KeyPair.generate_user(), machine=first["machine"])
    assert thief.json()["machine"] != first["machine"]
    back = await join(gateway, await new_token(), key, machine=first["machine"])
    assert back.json()["machine"] == first["machine"]
    other = (await admin.add_recording_server("South"))["join_token"]
    elsewhere = await join(gateway, other, key, machine=first["machine"])
    assert (elsewhere.status_code, elsewhere.json()["type"]) == (409, "conflict")
    # Another machine has used a token since: the first token's machine is no longer this server's.
    assert (await join(gateway, token, key)).status_code in (201, 403)


async def test_a_failover_server_gets_the_token_that_erases_it(gateway, admin, key):
    added = await admin.add_failover_server("Spare")
    reply = (await join(gateway, added["join_token"], key)).json()
    again = (await join(gateway, added["join_token"], key)).json()
    grants = [
        verify_grant(
            each["erase_token"], each["trust"]["erase"], purpose="erase", machine=reply["machine"], now_ms=1
        )
        for each in (reply, again)
    ]
    assert grants[0].serial
    assert grants[0].serial == grants[1].serial, "a machine that asks again must not be erased twice"


async def test_tokens_that_are_no_longer_good_are_refused(gateway, admin, key):
    old = (await admin.add_recording_server("North"))["join_token"]
    await admin.call("POST", "/servers/north/join-token", expect=201)
    for token in (old, "", "nonsense", "x" * 200):
        answer = await join(gateway, token, key)
        assert answer.status_code == 403, answer.text
    spare = (await admin.add_failover_server("Spare"))["join_token"]
    await admin.call("DELETE", "/servers/spare", expect=204)
    assert (await join(gateway, spare, key)).status_code == 403


async def test_an_expired_token_is_refused(gateway, admin, key, database):
    token = (await admin.add_recording_server("North"))["join_token"]
    await database.raw["join-tokens"].update_many({}, {"$set": {"expires_at": 1}})
    answer = await join(gateway, token, key)
    assert (answer.status_code, "expired" in answer.json()["detail"]) == (403, True)


async def test_a_key_that_is_none_is_refused(gateway, admin):
    token = (await admin.add_recording_server("North"))["join_token"]
    for public_key in ("", "U", "x" * 56, "A" * 56, "é" * 56, "U" + "A" * 54 + "="):
        body = {"token": token, "public_key": public_key}
        assert (await gateway.http.post("/api/v1/join", json=body)).status_code == 400, public_key


async def test_an_agent_of_a_newer_version_may_join(gateway, admin, key):
    token = (await admin.add_recording_server("North"))["join_token"]
    assert (await join(gateway, token, key, colour="blue")).status_code == 201


async def test_machines_are_told_the_addresses_that_they_can_reach(host, database, key):
    async with running_gateway(host, public_nats_urls="nats://a:4222, nats://b:4222") as gateway:
        token = (await (await gateway.log_in()).add_recording_server("North"))["join_token"]
        reply = (await join(gateway, token, key)).json()
    assert reply["nats_urls"] == ["nats://a:4222", "nats://b:4222"]
