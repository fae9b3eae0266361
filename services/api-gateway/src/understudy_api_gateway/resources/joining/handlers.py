"""`/join`: no login; the join token is the right.

Unknown fields are passed by here, unlike anywhere else: agents of a neighbouring version must be able to
join.
"""

from __future__ import annotations

import secrets

import msgspec
from litestar import Router, post
from litestar.params import JSONBody
from understudy_bus.authority import is_user_key
from understudy_contracts.errors import Conflict, InvalidInput, Refused
from understudy_contracts.events import ServerChanged
from understudy_contracts.joining import JoinReply, JoinRequest
from understudy_contracts.model import Role
from understudy_contracts.servers import Server
from understudy_contracts.subjects import MachineAddress
from understudy_runtime.grants import Grant
from understudy_store import collections
from understudy_store.database import Session

from understudy_api_gateway.injection import PartsOf
from understudy_api_gateway.parts import Parts
from understudy_api_gateway.resources.joining.admission import comes_back, joins_again
from understudy_api_gateway.resources.joining.tokens import JoinToken, join_tokens
from understudy_api_gateway.resources.sessions.accounts import hash_of

ERASE_WITHIN_MS = 10 * 60_000


@post("/", opt={"public": True})
async def join(data: JSONBody[JoinRequest], parts: PartsOf) -> JoinReply:
    if not is_user_key(data.public_key):
        raise InvalidInput("public_key is not the public half of a user nkey (it begins with U)")
    server, machine, token = await _admit(parts, data)
    return _reply(parts, server, machine, token, data.public_key)


async def _admit(parts: Parts, request: JoinRequest) -> tuple[Server, str, JoinToken]:
    tokens, servers = join_tokens(parts.database), collections.servers(parts.database)

    async def work(session: Session) -> tuple[Server, str, JoinToken]:
        token = await tokens.get(hash_of(request.token), session)
        again = joins_again(token, request, parts.clock.wall_ms())
        assert token is not None  # noqa: S101 - joins_again refuses None
        server = await servers.get(token.server, session)
        if server is None:
            raise Refused("the server of this join token has been deleted")
        if again:
            if token.machine is None or server.machine != token.machine:
                raise Refused(f"another machine has become {server.name} since")
            return server, token.machine, token
        return await _take_in(parts, session, request, server, token)

    return await parts.change(work)


async def _take_in(
    parts: Parts, session: Session, request: JoinRequest, server: Server, token: JoinToken
) -> tuple[Server, str, JoinToken]:
    tokens, servers = join_tokens(parts.database), collections.servers(parts.database)
    machine = f"m-{secrets.token_hex(4)}"
    if request.machine is not None:
        known = await tokens.find({"machine": request.machine}, session=session)
        if comes_back(known, request):
            machine = request.machine
            elsewhere = await servers.find({"machine": machine, "_id": {"$ne": server.id}}, session=session)
            if elsewhere:
                raise Conflict(f"this machine is {elsewhere[0].name}: delete that server first")
    used = msgspec.structs.replace(token, machine=machine, public_key=request.public_key)
    await tokens.replace(used, session)
    maximum = request.maximum_cameras if token.capacity_open and request.maximum_cameras else None
    joined = msgspec.structs.replace(
        server,
        machine=machine,
        maximum_cameras=server.maximum_cameras if maximum is None else maximum,
        revision=server.revision + 1,
    )
    await servers.replace(joined, session)
    await parts.tell(session, "server", joined.id, "joined", ServerChanged(joined))
    await parts.journal.write(session, machine, "joined", joined.id, version=request.version)
    return joined, machine, used


def _reply(parts: Parts, server: Server, machine: str, token: JoinToken, public_key: str) -> JoinReply:
    settings = parts.settings
    user_jwt = ""
    if parts.account is not None:
        address = MachineAddress(server.site, machine)
        user_jwt = parts.account.machine_jwt(public_key, address, parts.bus.subjects)
    erase_token = None
    if server.role is Role.FAILOVER and parts.signer is not None:
        expires = parts.clock.wall_ms() + ERASE_WITHIN_MS
        erase_token = parts.signer.sign(Grant("erase", machine, expires, serial=token.erase_serial))
    return JoinReply(
        machine=machine,
        server=server.id,
        server_name=server.name,
        role=server.role,
        site=server.site,
        nats_urls=[url.strip() for url in (settings.public_nats_urls or settings.nats_url).split(",")],
        user_jwt=user_jwt,
        trust=parts.trust,
        subject_prefix=settings.subject_prefix,
        erase_token=erase_token,
    )


join_router = Router("/join", route_handlers=[join])
