"""`/servers/{id}/pairing`: which failover servers may take a recording server over (M3)."""

from __future__ import annotations

import msgspec
from litestar import Router, get, put
from litestar.params import FromPath, JSONBody
from understudy_contracts.servers import Server
from understudy_store.database import Session

from understudy_api_gateway.injection import IdentityOf, PartsOf
from understudy_api_gateway.parts import Parts
from understudy_api_gateway.resources.servers.handlers import Pairing
from understudy_api_gateway.resources.servers.registry import (
    check_pairing,
    find_recording_server,
    find_server,
    put_server,
)


class PairingDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ids of failover servers, or "all": each there is, and each later one."""

    failover_servers: Pairing


@get("/")
async def show(server_id: FromPath[str], parts: PartsOf) -> PairingDocument:
    return PairingDocument((await find_recording_server(parts.database, server_id)).pairing)


@put("/")
async def change(
    server_id: FromPath[str], data: JSONBody[PairingDocument], parts: PartsOf, identity: IdentityOf
) -> PairingDocument:
    server = await change_pairing(parts, identity.user, server_id, data.failover_servers)
    return PairingDocument(server.pairing)


async def change_pairing(parts: Parts, user: str, server_id: str, wanted: Pairing) -> Server:
    """Raises:
    InvalidInput: a failover server is paired, or with a server that is no failover server.
    NotFound: there is no such server.
    """

    async def work(session: Session) -> Server:
        server = await find_server(parts.database, server_id, session)
        pairing = await check_pairing(parts.database, server.role, wanted, session)
        if pairing == server.pairing:
            return server
        after = msgspec.structs.replace(server, pairing=pairing)
        return await put_server(parts, session, user, "changed-pairing", after)

    return await parts.change(work)


pairing_router = Router("/servers/{server_id:str}/pairing", route_handlers=[show, change])
