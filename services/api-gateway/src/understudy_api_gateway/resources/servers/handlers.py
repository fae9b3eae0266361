"""`/servers`, `/servers/{id}`, `/servers/{id}/join-token`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from litestar import Router, delete, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import UNSET, Meta, UnsetType
from understudy_contracts.errors import Conflict, NotFound
from understudy_contracts.ids import Id
from understudy_contracts.model import Role, Status
from understudy_contracts.servers import Server
from understudy_contracts.settings import Name
from understudy_contracts.verbs import FORGET_SERVER, ForgetServer

from understudy_api_gateway.confirmations import require_confirmation
from understudy_api_gateway.cursors import cursor_after, text_key
from understudy_api_gateway.identity import Identity
from understudy_api_gateway.injection import IdentityOf, PartsOf
from understudy_api_gateway.parts import Parts
from understudy_api_gateway.resources.servers.guarding import interrupt_failovers
from understudy_api_gateway.resources.servers.naming import checked_name
from understudy_api_gateway.resources.servers.registry import (
    add_server,
    all_views,
    change_server,
    find_server,
    new_join_token,
    remove_server,
    view_one,
)
from understudy_api_gateway.resources.servers.views import ServerView, counts_of

Priority = Annotated[int, Meta(ge=-1000, le=1000)]
Capacity = Annotated[int, Meta(ge=0, le=2000)]
Pairing = Annotated[list[Id], Meta(max_length=10_000)] | Literal["all"]


class AddServer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`maximum_cameras` left out: the machine says it when it joins."""

    name: Name
    role: Role
    site: Id = "default"
    maximum_cameras: Capacity | None = None
    priority: Priority = 0
    pairing: Pairing = []
    confirmation: str | None = None


class ChangeServer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is left out stays as it is."""

    name: Name | UnsetType = UNSET
    site: Id | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    maximum_cameras: Capacity | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


class ServerPage(msgspec.Struct, frozen=True):
    """`counts`: by role and status, of all servers, whatever the filter."""

    items: list[ServerView]
    next: str | None
    counts: dict[str, dict[str, int]]


class GivenToken(msgspec.Struct, frozen=True):
    """Shown this once: only its hash is kept. `expires_at` in UTC milliseconds."""

    join_token: str
    expires_at: int


class AddedServer(msgspec.Struct, frozen=True):
    server: ServerView
    join_token: str
    expires_at: int


@get("/")
async def list_servers(
    parts: PartsOf,
    role: FromQuery[Role | None] = None,
    status: FromQuery[Status | None] = None,
    site: FromQuery[str | None] = None,
    cursor: FromQuery[str | None] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=1000)] = 200,
) -> ServerPage:
    """The status lists (M22)."""
    after = text_key(cursor) or ""
    views = await all_views(parts)
    wanted = [
        view
        for view in views
        if role in (None, view.role)
        and status in (None, view.status)
        and site in (None, view.site)
        and view.id > after
    ]
    page = wanted[:limit]
    return ServerPage(page, cursor_after(page[-1].id) if len(wanted) > limit else None, counts_of(views))


@post("/")
async def add(data: JSONBody[AddServer], parts: PartsOf, identity: IdentityOf) -> AddedServer:
    """Add a server; a failover server only once it is confirmed that its data will be erased (M1)."""
    name = checked_name(data.name)
    if data.role is Role.FAILOVER:
        require_confirmation(
            data.confirmation,
            session=identity.session,
            action="add-failover-server",
            subject=name,
            destroys=f"All data on the machine that joins as failover server {name} will be erased.",
            facts=(data.site,),
        )
    wanted = Server(
        id="new",
        name=name,
        role=data.role,
        site=data.site,
        priority=data.priority,
        pairing=data.pairing,
        maximum_cameras=100 if data.maximum_cameras is None else data.maximum_cameras,
    )
    server, token, kept = await add_server(
        parts, identity.user, wanted, capacity_open=data.maximum_cameras is None
    )
    return AddedServer(await view_one(parts, server), token, kept.expires_at)


@get("/{server_id:str}")
async def show(server_id: FromPath[str], parts: PartsOf) -> ServerView:
    return await view_one(parts, await find_server(parts.database, server_id))


@patch("/{server_id:str}")
async def change(
    server_id: FromPath[str],
    data: JSONBody[ChangeServer],
    parts: PartsOf,
    identity: IdentityOf,
    confirmation: FromQuery[str | None] = None,
) -> ServerView:
    """Change a server; disabling one in a failover must be confirmed (M16)."""
    server = await find_server(parts.database, server_id)
    if data.disabled is True and not server.disabled:
        await interrupt_failovers(parts, identity, server, "disable-server", confirmation)

    def changed(before: Server) -> Server:
        if data.site is not UNSET and data.site != before.site and before.machine is not None:
            raise Conflict(
                f"{before.name} has joined at site {before.site}: delete it and add it again to move it"
            )
        values = {
            field: value
            for field in ("name", "site", "priority", "maximum_cameras", "disabled")
            if (value := getattr(data, field)) is not UNSET
        }
        if "name" in values:
            values["name"] = checked_name(values["name"])
        return msgspec.structs.replace(before, **values)

    after = await change_server(parts, identity.user, server.id, "changed-server", changed)
    return await view_one(parts, after)


@delete("/{server_id:str}")
async def remove(
    server_id: FromPath[str], parts: PartsOf, identity: IdentityOf, confirmation: FromQuery[str | None] = None
) -> None:
    """Delete a server; one in a failover must be confirmed (M16)."""
    server = await find_server(parts.database, server_id)
    await interrupt_failovers(parts, identity, server, "delete-server", confirmation)
    if server.role is Role.RECORDING:
        # First, since it can be repeated when it fails; a server that is gone could not be asked about again.
        await _forget_settings(parts, identity, server.id)
    await remove_server(parts, identity.user, server.id)


async def _forget_settings(parts: Parts, identity: Identity, server_id: str) -> None:
    request = ForgetServer(server_id, identity.user)
    try:
        await parts.ask(FORGET_SERVER, request, user=identity.user, what="forgot-settings", subject=server_id)
    except NotFound:
        return  # it never had any


@post("/{server_id:str}/join-token")
async def give_join_token(server_id: FromPath[str], parts: PartsOf, identity: IdentityOf) -> GivenToken:
    """A new join token, for another machine or because the first was lost or has expired."""
    token, kept = await new_join_token(parts, identity.user, server_id)
    return GivenToken(token, kept.expires_at)


servers_router = Router("/servers", route_handlers=[list_servers, add, show, change, remove, give_join_token])
