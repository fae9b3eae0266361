"""Addresses that people give: where to listen."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass

from understudy_contracts.errors import ConfigurationError, InvalidInput

DEFAULT_PORT = 8080


@dataclass(frozen=True)
class ListenAddress:
    """`host` is a name or an address; `port` 0 means any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self}"

    @classmethod
    def parse(cls, text: str) -> ListenAddress:
        """`127.0.0.1:8080` or `[::1]:8080`.

        Raises:
            InvalidInput: anything else; one line that shows the form.
        """
        host, _, port = text.strip().rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            host = ""
        if not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
            raise InvalidInput(
                f"{text[:80]!r} is no address to listen on: write it as 127.0.0.1:{DEFAULT_PORT}"
            )
        return cls(host, int(port))

    def claimed(self) -> ListenAddress:
        """This address, proven to be free now; with port 0 it becomes a free one.

        Raises:
            ConfigurationError: somebody else listens there, or it is no address of this machine.
        """
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                port: int = probe.getsockname()[1]
        except (OSError, UnicodeError) as error:
            why = (getattr(error, "strerror", None) or str(error)).lower()
            raise ConfigurationError(
                f"cannot listen on {self}: {why}; end the program that listens there, "
                "or choose another address with --listen"
            ) from None
        return ListenAddress(self.host, port)

    def claimed_or_any(self) -> ListenAddress:
        """This address if it is free, else another port of the same host.

        Raises:
            ConfigurationError: no port of this host can be had.
        """
        with contextlib.suppress(ConfigurationError):
            return self.claimed()
        return ListenAddress(self.host, 0).claimed()
