"""How a machine joins the host: over HTTP, once, with the token that adding the server gave out."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from understudy_contracts.ids import Id
from understudy_contracts.model import Role


class JoinRequest(msgspec.Struct, frozen=True):
    """`public_key` is the agent's user nkey: it keeps the seed, the host never sees it.

    `machine` is the id of a machine that joined before and comes back (None: a new one).
    """

    token: Annotated[str, Meta(max_length=200)]
    public_key: Annotated[str, Meta(max_length=100)]
    version: Annotated[str, Meta(max_length=60)] = ""
    maximum_cameras: Annotated[int, Meta(ge=0, le=2000)] = 0
    machine: Id | None = None


class JoinReply(msgspec.Struct, frozen=True):
    """`user_jwt` lets the agent use the bus as itself; `trust` maps a purpose to the host's public key
    that signs for it (permit, fetch, erase); `erase_token` comes for a failover server (M1)."""

    machine: Id
    server: Id
    server_name: str
    role: Role
    site: Id
    nats_urls: list[str]
    user_jwt: str
    trust: dict[str, str]
    subject_prefix: str = "understudy"
    erase_token: str | None = None
