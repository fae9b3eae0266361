"""The replicator as a process of its own."""

import asyncio
import json
import os
import signal
import sys

from understudy_contracts.errors import NotFound, Unavailable
from understudy_contracts.model import Service
from understudy_contracts.verbs import READ_SETTINGS, ReadSettings


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
        "understudy_config_replicator",
        env=environment(settings, **changes),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_it_starts_answers_and_ends_in_order(host, gateway):
    process = await start(host.settings(Service.CONFIG_REPLICATOR))
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    await gateway.ask(READ_SETTINGS, ReadSettings("nobody"), timeout_s=1)
                except NotFound:
                    break
                except Unavailable:
                    await asyncio.sleep(0.05)
        async with host.observer_bus() as observer:
            reply = await observer.client.request("$SRV.INFO.understudy-config-replicator", timeout=5)
        assert len(json.loads(reply.data)["endpoints"]) == 8
        process.send_signal(signal.SIGTERM)
        _, errors = await asyncio.wait_for(process.communicate(), 10)
        assert process.returncode == 0, errors
        assert b'"level": "error"' not in errors
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
