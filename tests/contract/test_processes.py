"""Each control service as a process of its own: it comes up, shows its verbs, answers nonsense, ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys

import nats.errors
import pytest
from understudy_contracts import verbs
from understudy_contracts.model import Service
from understudy_runtime.configuration import ControlSettings

SERVING = [service for service in Service if service is not Service.API_GATEWAY]  # that one serves HTTP
SIGNING = [Service.LICENSE_BROKER, Service.RECORDING_SYNC]
VERBS = [verb for verb in vars(verbs).values() if isinstance(verb, verbs.Verb)]


def environment(settings: ControlSettings, **changes: str) -> dict[str, str]:
    values = {
        "NATS_URL": settings.nats_url,
        "NATS_CREDENTIALS": settings.nats_credentials,
        "SUBJECT_PREFIX": settings.subject_prefix,
        "MONGO_URL": settings.mongo_url,
        "DATABASE": settings.database,
        "SIGNING_KEY": settings.signing_key,
        **changes,
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("UNDERSTUDY_")}
    return inherited | {f"UNDERSTUDY_{name}": value for name, value in values.items()}


async def start(host, service: Service, **changes: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"understudy_{service.value.replace('-', '_')}",
        env=environment(host.settings(service), **changes),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def verbs_shown(bus, service: Service) -> set[str]:
    """What a service says that it can be asked; nothing while it is not there."""
    try:
        reply = await bus.client.request(f"$SRV.INFO.understudy-{service}", timeout=1)
    except (nats.errors.NoRespondersError, nats.errors.TimeoutError):
        return set()
    return {endpoint["subject"] for endpoint in json.loads(reply.data)["endpoints"]}


@pytest.mark.parametrize("service", SERVING)
async def test_it_comes_up_shows_its_verbs_and_ends_in_order(host, service):
    process = await start(host, service)
    try:
        async with host.observer_bus() as observer, host.bus(Service.API_GATEWAY) as gateway:
            declared = {host.subjects.verb(v.service, v.name) for v in VERBS if v.service is service}
            shown: set[str] = set()
            # It answers from its first verb on.
            async with asyncio.timeout(30):
                while len(shown) < len(declared):
                    await asyncio.sleep(0.05)
                    shown = await verbs_shown(observer, service)
            assert shown == declared
            for subject in sorted(declared):
                for garbage in (b"", b"\xff", b"[]", b"{" * 50_000):
                    answer = await gateway.client.request(subject, garbage, timeout=5)
                    assert json.loads(answer.data)["code"] == "invalid-message"
        process.send_signal(signal.SIGTERM)
        _, errors = await asyncio.wait_for(process.communicate(), 15)
        assert process.returncode == 0, errors
        assert b'"level": "error"' not in errors
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("service", SIGNING)
async def test_without_its_signing_key_it_says_so_in_one_line(host, service):
    process = await start(host, service, SIGNING_KEY="")
    _, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 2
    assert errors.decode().splitlines() == [
        f"understudy {service}: no signing key: set UNDERSTUDY_SIGNING_KEY to the path of this service's"
    ]
