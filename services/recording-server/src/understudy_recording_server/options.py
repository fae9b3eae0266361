"""What an agent can be told at its start."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta
from understudy_contracts.errors import ConfigurationError
from understudy_runtime.configuration import ProcessSettings

MAXIMUM_PORT = 65535


class AgentSettings(ProcessSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`join` (the host's address) and `join_token` are needed until the machine has joined.

    `listen` is where footage is served from, `advertise` the name or address under which other servers reach
    it: a host, `host:port`, or empty for what can be told from the network. `maximum_cameras` None: as
    measured, see capacity.py.
    """

    data_dir: str = ""
    join: str = ""
    join_token: str = ""
    listen: str = "127.0.0.1:0"
    advertise: str = ""
    maximum_cameras: Annotated[int, Meta(ge=0, le=2000)] | None = None

    def __repr__(self) -> str:
        return f"AgentSettings(data_dir={self.data_dir!r}, join={self.join!r}, listen={self.listen!r})"


def host_and_port(text: str, *, default_port: int | None = None) -> tuple[str, int]:
    """The parts of `host:port` or `[address]:port`.

    Raises:
        ConfigurationError: it is neither.
    """
    host, colon, port = text.rpartition(":")
    if (not colon or port.endswith("]")) and default_port is not None:
        host, port = text, str(default_port)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > MAXIMUM_PORT:
        raise ConfigurationError(f"{text[:120]!r} is no address: expected HOST:PORT, such as 127.0.0.1:0")
    return host, int(port)
