"""The broker as a process of its own."""

import asyncio
import json
import os
import signal
import sys

from understudy_contracts.errors import Unavailable
from understudy_contracts.model import Service
from understudy_contracts.verbs import READ_LICENSES, Licenses, ReadLicenses


def environment(settings, **changes):
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


async def start(settings, **changes):
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "understudy_license_broker",
        env=environment(settings, **changes),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_it_starts_answers_and_ends_in_order(host, gateway):
    process = await start(host.settings(Service.LICENSE_BROKER))
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    assert await gateway.ask(READ_LICENSES, ReadLicenses(), timeout_s=1) == Licenses([])
                    break
                except Unavailable:
                    await asyncio.sleep(0.05)
        async with host.observer_bus() as observer:
            reply = await observer.client.request("$SRV.INFO.understudy-license-broker", timeout=5)
        assert len(json.loads(reply.data)["endpoints"]) == 6
        process.send_signal(signal.SIGTERM)
        _, errors = await asyncio.wait_for(process.communicate(), 10)
        assert process.returncode == 0, errors
        assert b'"level": "error"' not in errors
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_without_its_signing_key_it_says_so_in_one_line(host):
    process = await start(host.settings(Service.LICENSE_BROKER), SIGNING_KEY="")
    _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 2
    assert errors.decode().splitlines() == [
        "understudy license-broker: no signing key: set UNDERSTUDY_SIGNING_KEY to the path of this service's"
    ]
