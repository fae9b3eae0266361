"""The process itself: it says where it listens, or in one line why it does not."""

import asyncio
import json
import socket
import sys
from urllib.parse import urlsplit

import httpx
import pytest
from gateway_in_tests import settings_of
from service_in_tests import environment
from understudy_api_gateway.settings import GatewaySettings, address_of, listening_socket
from understudy_contracts.errors import ConfigurationError


async def start(settings):
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "understudy_api_gateway",
        env=environment(settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_it_prints_its_address_answers_and_ends_when_told(host, database):
    spans = host.folder / "spans.jsonl"
    process = await start(settings_of(host, trace_file=str(spans)))
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        url = json.loads(line)["listening"]
        async with httpx.AsyncClient(base_url=url) as http:
            assert (await http.get("/health/live")).json() == {"status": "ok"}
            assert (await http.get("/health/ready")).status_code == 200
            trace = "0af7651916cd43dd8448eb211c80319c"
            headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
            await http.post("/api/v1/session", json={}, headers=headers)
            taken = await start(settings_of(host, listen=url.removeprefix("http://")))
            _, said = await asyncio.wait_for(taken.communicate(), 30)
            assert taken.returncode != 0
            assert len(said.decode().strip().splitlines()) == 1
            assert b"Address already in use" in said
    finally:
        process.terminate()
        _, log = await asyncio.wait_for(process.communicate(), 15)
    assert process.returncode == 0, log.decode()
    (span,) = (json.loads(line) for line in spans.read_text().splitlines())
    assert (span["name"], span["context"]["trace_id"]) == ("POST /api/v1/session", f"0x{trace}")


async def test_without_users_and_password_it_says_what_to_set(host, database):
    process = await start(settings_of(host, administrator_password=""))
    _, said = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode != 0
    assert b"UNDERSTUDY_ADMINISTRATOR_PASSWORD_FILE" in said
    assert b"Traceback" not in said


@pytest.mark.parametrize("listen", ["nonsense", "127.0.0.1", "127.0.0.1:99999", "host.example:80", ":"])
def test_a_wrong_address_is_refused(listen):
    with pytest.raises(ConfigurationError, match="UNDERSTUDY_LISTEN"):
        listening_socket(GatewaySettings(listen=listen))


def test_without_credentials_it_listens_on_loopback_only(host):
    with pytest.raises(ConfigurationError, match="without NATS credentials"):
        listening_socket(GatewaySettings(listen="0.0.0.0:0"))
    guarded = GatewaySettings(listen="0.0.0.0:0", nats_credentials="some.creds")
    with listening_socket(guarded) as listener:
        assert address_of(listener).startswith("http://0.0.0.0:")


async def test_answers_do_not_wait_for_acknowledgements():
    """TCP_NODELAY, without which an answer of head and body takes 40 ms more."""
    accepted = asyncio.get_running_loop().create_future()

    async def answer(_, writer):
        at_once = writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        accepted.set_result(at_once)
        writer.close()

    with listening_socket(GatewaySettings(listen="127.0.0.1:0")) as listener:
        address = urlsplit(address_of(listener))
        async with await asyncio.start_server(answer, sock=listener):
            _, writer = await asyncio.open_connection(address.hostname, address.port)
            assert await accepted == 1
            writer.close()
            await writer.wait_closed()
