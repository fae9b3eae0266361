"""Joins the parts of the api-gateway and runs them until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import aiohttp
import msgspec
import uvicorn
from litestar.types import ASGIApp
from understudy_bus.authority import AccountSigner
from understudy_bus.connection import connect_bus
from understudy_bus.events import ensure_stream, publish_event
from understudy_contracts.errors import ConfigurationError
from understudy_contracts.model import Service
from understudy_runtime.accepting import stop_accepting
from understudy_runtime.clock import SystemClock
from understudy_runtime.grants import Signer
from understudy_store import collections
from understudy_store.database import connect_database
from understudy_store.outbox import Outbox

from understudy_api_gateway.idempotency import Idempotency, tidy_regularly
from understudy_api_gateway.parts import Parts
from understudy_api_gateway.resources.joining.tokens import join_tokens
from understudy_api_gateway.resources.sessions.accounts import Accounts
from understudy_api_gateway.settings import GatewaySettings, address_of, listening_socket
from understudy_api_gateway.web import make_application

GRACE_S = 3

Announce = Callable[[str], None]


async def main(settings: GatewaySettings, stopping: asyncio.Event) -> None:
    """Serve until `stopping`; when it answers, say where as one line of JSON on standard output."""

    def announce(url: str) -> None:
        print(json.dumps({"listening": url}), flush=True)

    await serve(settings, stopping, announce)


async def serve(settings: GatewaySettings, stopping: asyncio.Event, announce: Announce) -> None:
    """As `main`, with the address handed to `announce`.

    Raises:
        ConfigurationError: the gateway cannot run as configured.
    """
    instance = f"api-gateway-{secrets.token_hex(4)}"
    clock = SystemClock()
    account = AccountSigner.from_file(settings.authority) if settings.authority else None
    signer = Signer.from_file(settings.signing_key) if settings.signing_key else None
    trust = read_trust(settings.trust)
    listener = listening_socket(settings)
    with contextlib.closing(listener):
        async with (
            connect_database(settings) as database,
            connect_bus(settings, str(Service.API_GATEWAY), absence_s=settings.service_absence_s) as bus,
            contextlib.AsyncExitStack() as ending,
        ):
            await ensure_stream(bus)
            outbox = Outbox(database, str(Service.API_GATEWAY), clock)
            await outbox.prepare()
            await collections.servers(database).index("machine", name="machine")
            await join_tokens(database).index("machine", name="machine")
            http = await ending.enter_async_context(aiohttp.ClientSession(auto_decompress=False))
            parts = Parts(
                settings=settings,
                database=database,
                bus=bus,
                outbox=outbox,
                clock=clock,
                account=account,
                signer=signer,
                trust=trust,
                http=http,
            )
            await parts.machine_states.listen(bus)
            accounts, idempotency = Accounts(parts), Idempotency(parts)
            await accounts.prepare()
            application = make_application(parts, accounts, idempotency)
            try:
                async with asyncio.TaskGroup() as group:
                    background = [
                        group.create_task(outbox.relay(partial(publish_event, bus), instance)),
                        group.create_task(tidy_regularly(idempotency)),
                    ]
                    await _answer_requests(application, parts, listener, stopping, announce)
                    for task in background:
                        task.cancel()
            finally:
                accounts.passwords.close()


def read_trust(path: str) -> dict[str, str]:
    """The host's public keys by purpose; none without a path.

    Raises:
        ConfigurationError: the file cannot be read, or is not of that form.
    """
    if not path:
        return {}
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=dict[str, str])
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigurationError(f"cannot read the host's public keys {path}: {error}") from None


class _Server(uvicorn.Server):
    """Leaves signals to `run_service`, and says when it answers."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._started = started

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await stop_accepting(sockets or [])
        await super().shutdown(sockets)


async def _answer_requests(
    application: ASGIApp,
    parts: Parts,
    listener: socket.socket,
    stopping: asyncio.Event,
    announce: Announce,
) -> None:
    config = uvicorn.Config(
        application,
        lifespan="off",
        ws="websockets-sansio",
        ws_max_size=4096,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=GRACE_S,
        limit_concurrency=2000,
        h11_max_incomplete_event_size=64 * 1024,
    )
    server = _Server(config, lambda: announce(address_of(listener)))
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(_end_when(stopping, parts, server))
        await server.serve(sockets=[listener])
        watching.cancel()


async def _end_when(stopping: asyncio.Event, parts: Parts, server: uvicorn.Server) -> None:
    await stopping.wait()
    parts.closing.set()
    server.should_exit = True
