"""What the api-gateway must be told, and what it refuses to start with."""

from __future__ import annotations

import ipaddress
import socket
from typing import Annotated

from msgspec import Meta
from understudy_contracts.errors import ConfigurationError
from understudy_runtime.configuration import ControlSettings


class GatewaySettings(ControlSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`authority`: path of account.seed, signs joining machines. `trust`: path of trust.json, handed to
    them. `public_nats_urls`: where machines reach the bus (comma separated; `nats_url` if empty).
    `administrator_password`: of the user `admin`, made at the first start. `service_absence_s`: so long a
    service may be away, as one that failed is for about a second, until who asks for it is refused."""

    listen: str = "127.0.0.1:8080"
    authority: str = ""
    trust: str = ""
    public_nats_urls: str = ""
    administrator_password: str = ""
    session_hours: Annotated[float, Meta(gt=0, le=24 * 30)] = 12.0
    service_absence_s: Annotated[float, Meta(ge=0, le=60)] = 3.0


def listening_socket(settings: GatewaySettings) -> socket.socket:
    """The bound socket; port 0 takes a free one.

    Raises:
        ConfigurationError: not `address:port`, the port is in use, or the address is not loopback while
            nothing guards the bus.
    """
    host, _, port_text = settings.listen.rpartition(":")
    host = host.strip("[]")
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
        port = int(port_text)
        if not 0 <= port <= 65535:
            raise ValueError(port_text)
    except ValueError:
        raise ConfigurationError(
            f"UNDERSTUDY_LISTEN is {settings.listen!r}: expected <IP address>:<port>, like 127.0.0.1:8080"
        ) from None
    if not settings.nats_credentials and not address.is_loopback:
        raise ConfigurationError(
            f"refusing to listen on {host} without NATS credentials: set UNDERSTUDY_NATS_CREDENTIALS, "
            "or listen on 127.0.0.1"
        )
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it, each answer of head and
    # body waits for the client's delayed acknowledgement, 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((str(address), port))
        # Listening at once makes a second process on the same port fail here, with one clear line.
        listener.listen(256)
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"cannot listen on {settings.listen}: {error.strerror}") from None
    listener.setblocking(False)
    return listener


def address_of(listener: socket.socket) -> str:
    """The URL at which `listener` is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
