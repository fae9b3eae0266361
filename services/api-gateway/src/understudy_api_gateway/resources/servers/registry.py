"""The servers' documents: each change is one transaction with its event and its line in the audit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from understudy_contracts.errors import Conflict, InvalidInput, NotFound
from understudy_contracts.events import ServerChanged
from understudy_contracts.ids import check_id
from understudy_contracts.model import Role
from understudy_contracts.servers import Server
from understudy_store import collections
from understudy_store.database import Database, Session

from understudy_api_gateway.parts import Parts
from understudy_api_gateway.resources.joining.tokens import JoinToken, give_out, join_tokens
from understudy_api_gateway.resources.servers.naming import free_id
from understudy_api_gateway.resources.servers.views import ServerView, view_of, views_of

MOST_SERVERS = 10_000


async def find_server(database: Database, server_id: str, session: Session | None = None) -> Server:
    """Raises:
    InvalidId: `server_id` is no id.
    NotFound: no server has it.
    """
    server = await collections.servers(database).get(check_id(server_id, "server id"), session)
    if server is None:
        raise NotFound(f"there is no server {server_id}")
    return server


async def find_recording_server(database: Database, server_id: str) -> Server:
    """Raises:
    NotFound: no server has this id.
    InvalidInput: it is a failover server.
    """
    server = await find_server(database, server_id)
    if server.role is not Role.RECORDING:
        raise InvalidInput(f"{server.name} is a failover server: it has no cameras and settings of its own")
    return server


async def all_views(parts: Parts) -> list[ServerView]:
    """All servers as people see them, in the order of their ids."""
    servers = await collections.servers(parts.database).find(limit=MOST_SERVERS)
    statuses = await collections.statuses(parts.database).find(limit=MOST_SERVERS)
    return views_of(servers, {status.server: status for status in statuses}, parts.clock.wall_ms())


async def view_one(parts: Parts, server: Server) -> ServerView:
    """One server as people see it."""
    status = await collections.statuses(parts.database).get(server.id)
    spares: list[str] = []
    if server.pairing == "all":
        found = await collections.servers(parts.database).find(
            {"role": str(Role.FAILOVER)}, order=[("_id", 1)], limit=MOST_SERVERS
        )
        spares = [spare.id for spare in found]
    return view_of(server, status, spares, parts.clock.wall_ms())


async def check_pairing(
    database: Database, role: Role, pairing: list[str] | str, session: Session
) -> list[str] | str:
    """`pairing` without repetitions, in the order given.

    Raises:
        InvalidInput: a failover server is paired, or with a server that is no failover server.
    """
    if pairing in ("all", []):
        if pairing == "all" and role is Role.FAILOVER:
            raise InvalidInput("pairing belongs to recording servers; this is a failover server")
        return pairing
    if role is Role.FAILOVER:
        raise InvalidInput("pairing belongs to recording servers; this is a failover server")
    wanted = list(dict.fromkeys(pairing))
    found = await collections.servers(database).find(
        {"_id": {"$in": wanted}, "role": str(Role.FAILOVER)}, session=session
    )
    missing = sorted(set(wanted) - {server.id for server in found})
    if missing:
        raise InvalidInput(f"not a failover server of this host: {', '.join(missing[:10])}")
    return wanted


async def add_server(
    parts: Parts, user: str, wanted: Server, *, capacity_open: bool
) -> tuple[Server, str, JoinToken]:
    """Add `wanted` under an id made from its name, and give out its join token.

    Raises:
        InvalidInput: its pairing names others than failover servers.
    """

    async def work(session: Session) -> tuple[Server, str, JoinToken]:
        servers = collections.servers(parts.database)
        pairing = await check_pairing(parts.database, wanted.role, wanted.pairing, session)
        taken = {document["_id"] async for document in servers.raw.find({}, {"_id": 1}, session=session)}
        if len(taken) >= MOST_SERVERS:
            raise Conflict(f"this host has {MOST_SERVERS} servers already, the most it can have")
        server = msgspec.structs.replace(
            wanted, id=free_id(wanted.name, wanted.role, taken), pairing=pairing, revision=1
        )
        await servers.insert(server, session)
        token, kept = await give_out(
            parts.database, session, server.id, parts.clock.wall_ms(), capacity_open=capacity_open
        )
        await parts.tell(session, "server", server.id, "added", ServerChanged(server))
        await parts.journal.write(
            session, user, "added-server", server.id, name=server.name, role=str(server.role)
        )
        return server, token, kept

    return await parts.change(work)


async def change_server(
    parts: Parts,
    user: str,
    server_id: str,
    what: str,
    change: Callable[[Server], Server],
    event: str = "changed",
    **details: Any,
) -> Server:
    """Replace the server by what `change` makes of it; unchanged, nothing is written or told.

    `details` go into the audit.

    Raises:
        NotFound: there is none (any more).
    """

    async def work(session: Session) -> Server:
        before = await find_server(parts.database, server_id, session)
        after = change(before)
        if after == before:
            return before
        return await put_server(parts, session, user, what, after, event, **details)

    return await parts.change(work)


async def put_server(
    parts: Parts,
    session: Session,
    user: str,
    what: str,
    server: Server,
    event: str = "changed",
    **details: Any,
) -> Server:
    """Within a transaction: write `server` as its next revision, tell of it, record it with `details`."""
    after = msgspec.structs.replace(server, revision=server.revision + 1)
    await collections.servers(parts.database).replace(after, session)
    await parts.tell(session, "server", after.id, event, ServerChanged(after))
    await parts.journal.write(session, user, what, after.id, **details)
    return after


async def remove_server(parts: Parts, user: str, server_id: str) -> None:
    """Delete the server, its join tokens, and every pairing with it.

    Raises:
        NotFound: there is none (any more).
    """

    async def work(session: Session) -> None:
        servers = collections.servers(parts.database)
        server = await find_server(parts.database, server_id, session)
        await servers.delete(server.id, session)
        await join_tokens(parts.database).raw.delete_many({"server": server.id}, session=session)
        for other in await servers.find({"pairing": server.id}, session=session):
            pairing = [spare for spare in other.pairing if spare != server.id]
            await put_server(
                parts, session, user, "changed-pairing", msgspec.structs.replace(other, pairing=pairing)
            )
        await parts.tell(session, "server", server.id, "removed", ServerChanged(server))
        await parts.journal.write(session, user, "removed-server", server.id, name=server.name)

    await parts.change(work)


async def new_join_token(parts: Parts, user: str, server_id: str) -> tuple[str, JoinToken]:
    """A new token; the unused one before it is void.

    Raises:
        NotFound: there is no such server.
    """

    async def work(session: Session) -> tuple[str, JoinToken]:
        server = await find_server(parts.database, server_id, session)
        given = await give_out(parts.database, session, server.id, parts.clock.wall_ms())
        await parts.journal.write(session, user, "gave-out-join-token", server.id)
        return given

    return await parts.change(work)
