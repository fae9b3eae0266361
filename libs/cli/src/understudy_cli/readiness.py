"""Waits until a control plane serves: the API answers, and every service is on the bus."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Final

import httpx
import msgspec
from nats.aio.msg import Msg
from understudy_bus.connection import connect_bus
from understudy_bus.permissions import OBSERVER
from understudy_contracts.errors import Unavailable
from understudy_contracts.model import Service
from understudy_runtime.configuration import BusSettings

from understudy_cli.supervisor import Supervisor

READY_WITHIN_S: Final = 60.0
_POLL_S: Final = 0.1
_PING: Final = "$SRV.PING"
"""Every service answers it (NATS micro protocol)."""


class _Ping(msgspec.Struct, frozen=True):
    name: str


async def wait_until_ready(url: str, nats_url: str, authority: Path, supervisor: Supervisor) -> None:
    """
    Raises:
        ProcessFailed: a service cannot run as configured.
        Unavailable: not ready in time; names what is missing.
    """
    settings = BusSettings(nats_url=nats_url, nats_credentials=str(authority / f"{OBSERVER}.creds"))
    deadline = time.monotonic() + READY_WITHIN_S
    answered: set[str] = set()
    async with (
        connect_bus(settings, OBSERVER) as bus,
        httpx.AsyncClient(base_url=url, timeout=5, trust_env=False) as client,
    ):

        async def heard(message: Msg) -> None:
            with contextlib.suppress(msgspec.DecodeError):
                answered.add(msgspec.json.decode(message.data, type=_Ping).name)

        inbox = bus.client.new_inbox()
        await bus.client.subscribe(inbox, cb=heard)
        while True:
            supervisor.raise_if_failed()
            missing = [
                str(each)
                for each in Service
                if each is not Service.API_GATEWAY and f"understudy-{each}" not in answered
            ]
            if missing:
                await bus.client.publish(_PING, reply=inbox)
            if words := await _api_is_missing(client):
                missing.append(words)
            if not missing:
                return
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"the control plane was not ready within {READY_WITHIN_S:.0f} s: "
                    f"missing are {', '.join(missing)}"
                )
            await asyncio.sleep(_POLL_S)


async def _api_is_missing(client: httpx.AsyncClient) -> str:
    """Why the API is not ready; empty if it is."""
    try:
        answer = await client.get("/health/ready")
    except httpx.HTTPError:
        return str(Service.API_GATEWAY)
    if answer.status_code == httpx.codes.OK:
        return ""
    return f"{Service.API_GATEWAY} ({' '.join(answer.text.split())[:300]})"
