"""`/failover-settings`: the defaults; `/servers/{id}/failover-settings`: one server's own (M5 to M8).

A failover has its own copy of them since its start. Editing those of a server in a failover interrupts it,
once that is confirmed (M16); changed defaults hold for failovers that start later.

Changing the defaults is told as `server.defaults.defaults`, since it changes what holds for servers; no
server can have the id `defaults`.
"""

from __future__ import annotations

import msgspec
from litestar import Router, delete, get, put
from litestar.params import FromPath, FromQuery, JSONBody
from understudy_contracts.events import DefaultsChanged
from understudy_contracts.servers import Server
from understudy_contracts.settings import FailoverSettings
from understudy_store import collections
from understudy_store.collections import DEFAULTS_ID, FailoverDefaults
from understudy_store.database import Session

from understudy_api_gateway.identity import Identity
from understudy_api_gateway.injection import IdentityOf, PartsOf
from understudy_api_gateway.parts import Parts
from understudy_api_gateway.resources.servers.guarding import interrupt_failovers
from understudy_api_gateway.resources.servers.registry import change_server, find_recording_server

DEFAULTS_EVENT = "defaults"


class FailoverSettingsView(msgspec.Struct, frozen=True):
    """`own`: the server's own settings; else the defaults, which hold for it."""

    settings: FailoverSettings
    own: bool


@get("/")
async def show_defaults(parts: PartsOf) -> FailoverSettings:
    return await collections.read_defaults(parts.database)


@put("/")
async def change_defaults(
    data: JSONBody[FailoverSettings], parts: PartsOf, identity: IdentityOf
) -> FailoverSettings:
    async def work(session: Session) -> None:
        documents = collections.failover_defaults(parts.database)
        before = await documents.get(DEFAULTS_ID, session)
        if before is not None and before.settings == data:
            return
        revision = before.revision + 1 if before else 1
        await documents.replace(FailoverDefaults(DEFAULTS_ID, data, revision), session, upsert=True)
        await parts.outbox.append(
            session, "server", DEFAULTS_ID, DEFAULTS_EVENT, DefaultsChanged(identity.user)
        )
        await parts.journal.write(session, identity.user, "changed-failover-defaults")

    await parts.change(work)
    return data


@get("/")
async def show_one(server_id: FromPath[str], parts: PartsOf) -> FailoverSettingsView:
    return await _view(parts, await find_recording_server(parts.database, server_id))


@put("/")
async def change_one(
    server_id: FromPath[str],
    data: JSONBody[FailoverSettings],
    parts: PartsOf,
    identity: IdentityOf,
    confirmation: FromQuery[str | None] = None,
) -> FailoverSettingsView:
    """The server's own from now on; while it is in a failover that must be confirmed (M16)."""
    return await _change(parts, identity, server_id, data, confirmation)


@delete("/", status_code=200)
async def follow_defaults(
    server_id: FromPath[str],
    parts: PartsOf,
    identity: IdentityOf,
    confirmation: FromQuery[str | None] = None,
) -> FailoverSettingsView:
    """From now on the defaults hold; while it is in a failover that must be confirmed (M16)."""
    return await _change(parts, identity, server_id, None, confirmation)


async def _change(
    parts: Parts,
    identity: Identity,
    server_id: str,
    settings: FailoverSettings | None,
    confirmation: str | None,
) -> FailoverSettingsView:
    server = await find_recording_server(parts.database, server_id)
    defaults = await collections.read_defaults(parts.database)
    if (settings or defaults) != (server.failover_settings or defaults):
        await interrupt_failovers(parts, identity, server, "change-failover-settings", confirmation)

    def changed(before: Server) -> Server:
        return msgspec.structs.replace(before, failover_settings=settings)

    return await _view(
        parts, await change_server(parts, identity.user, server_id, "changed-failover-settings", changed)
    )


async def _view(parts: Parts, server: Server) -> FailoverSettingsView:
    if server.failover_settings is not None:
        return FailoverSettingsView(server.failover_settings, own=True)
    return FailoverSettingsView(await collections.read_defaults(parts.database), own=False)


failover_defaults_router = Router("/failover-settings", route_handlers=[show_defaults, change_defaults])
failover_settings_router = Router(
    "/servers/{server_id:str}/failover-settings", route_handlers=[show_one, change_one, follow_defaults]
)
