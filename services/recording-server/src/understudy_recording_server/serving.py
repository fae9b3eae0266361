"""Serving the machine's web application, and the address under which others reach it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from aiohttp import web
from understudy_contracts.errors import ConfigurationError
from understudy_runtime.accepting import close_server

from understudy_recording_server.options import host_and_port

BACKLOG = 128


@asynccontextmanager
async def serving(
    application: web.Application, listen: str, *, patience_s: float = 1.0
) -> AsyncIterator[int]:
    """Serve while the context is open; gives the port. Answers under way at its end have `patience_s`, and
    no connection outlives it.

    Raises:
        ConfigurationError: the address is none, or in use.
    """
    host, port = host_and_port(listen)
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=patience_s)
    await runner.setup()
    assert runner.server is not None  # noqa: S101 - setup made it
    try:
        loop = asyncio.get_running_loop()
        try:
            # Not aiohttp's TCPSite, which does not give its sockets away: they are needed at the end.
            server = await loop.create_server(runner.server, host, port, backlog=BACKLOG)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigurationError(
                f"cannot serve footage at {listen}: {reason}; choose another address with --listen"
            ) from None
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            await close_server(server)
    finally:
        await runner.cleanup()


def advertised(listen: str, advertise: str, port: int, nats_urls: list[str]) -> str:
    """The address under which others reach the footage: what was configured, or what can be told from how
    this machine reaches its host.

    Raises:
        ConfigurationError: `advertise` is no address.
    """
    if advertise:
        host, port = host_and_port(advertise.removeprefix("http://").rstrip("/"), default_port=port)
    else:
        host, _ = host_and_port(listen)
        if host in {"0.0.0.0", "::"}:  # noqa: S104 - asked, not bound
            host = _own_address(nats_urls)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _own_address(nats_urls: list[str]) -> str:
    for url in nats_urls:
        parts = urlsplit(url)
        try:
            found = socket.getaddrinfo(parts.hostname, parts.port or 4222, type=socket.SOCK_DGRAM)
            family, kind, protocol, _, address = found[0]
            # Connecting a datagram socket sends nothing; it only asks which way packets would go.
            with socket.socket(family, kind, protocol) as probe:
                probe.connect(address)
                return str(probe.getsockname()[0])
        except (OSError, ValueError):
            continue
    return socket.gethostname()
