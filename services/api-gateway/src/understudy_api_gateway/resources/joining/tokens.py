"""Join tokens: single-use, kept as hashes, and who used them."""

from __future__ import annotations

import secrets
from typing import Final

import msgspec
from understudy_contracts.ids import Id
from understudy_store.database import Database, Documents, Session

from understudy_api_gateway.resources.sessions.accounts import hash_of

LIFE_MS: Final = 24 * 3_600_000


class JoinToken(msgspec.Struct, frozen=True, omit_defaults=True):
    """`id` is the token's hash. `machine` and `public_key` are set by the one use.

    `capacity_open`: nobody said how many cameras the server may have, so the machine does.
    `erase_serial`: the serial of the erasing that this joining brings with it, the same if it is answered
    again, so that a machine erases itself once.
    """

    id: str
    server: Id
    created_at: int
    expires_at: int
    capacity_open: bool = False
    machine: Id | None = None
    public_key: str | None = None
    erase_serial: str = ""


def join_tokens(database: Database) -> Documents[JoinToken]:
    """Written by the api-gateway."""
    return database.documents("join-tokens", JoinToken, "id")


async def give_out(
    database: Database, session: Session, server: str, now_ms: int, *, capacity_open: bool = False
) -> tuple[str, JoinToken]:
    """A new token for `server`; an earlier one that was not used is void from now on."""
    tokens = join_tokens(database)
    await tokens.raw.delete_many({"server": server, "machine": None}, session=session)
    token = secrets.token_urlsafe(32)
    kept = JoinToken(
        id=hash_of(token),
        server=server,
        created_at=now_ms,
        expires_at=now_ms + LIFE_MS,
        capacity_open=capacity_open,
        erase_serial=secrets.token_hex(16),
    )
    await tokens.insert(kept, session)
    return token, kept
