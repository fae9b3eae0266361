"""`/failovers`, `/failovers/{id}` with `/stop` and `/stop-restoration`, `/servers/{id}/failover`."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Router, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from understudy_contracts.errors import ConfirmationRequired, InvalidInput, NotFound
from understudy_contracts.failovers import Failover
from understudy_contracts.ids import Id, check_id, epoch_of
from understudy_contracts.model import Phase, Role, UserRole
from understudy_contracts.verbs import (
    START_FAILOVER,
    STOP_FAILOVER,
    STOP_RESTORATION,
    StartFailover,
    StopFailover,
    StopRestoration,
)
from understudy_store import collections

from understudy_api_gateway.confirmations import confirmation_for, require_confirmation
from understudy_api_gateway.cursors import cursor_after, number_key
from understudy_api_gateway.injection import IdentityOf, PartsOf
from understudy_api_gateway.parts import Parts
from understudy_api_gateway.resources.failovers.going_dark import what_goes_dark
from understudy_api_gateway.resources.servers.registry import find_recording_server, find_server


class StartByHand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Without `failover_server`, the host assigns one (M10)."""

    failover_server: Id | None = None


class Stop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    confirmation: str | None = None


class FailoverPage(msgspec.Struct, frozen=True):
    items: list[Failover]
    next: str | None


@get("/")
async def list_failovers(
    parts: PartsOf,
    server: FromQuery[str | None] = None,
    phase: FromQuery[Phase | None] = None,
    running: FromQuery[bool | None] = None,
    cursor: FromQuery[str | None] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
) -> FailoverPage:
    """The newest first. `running=true`: those that are not done."""
    where: dict[str, Any] = {}
    if server is not None:
        where["server"] = check_id(server, "server id")
    if phase is not None:
        where["phase"] = str(phase)
    elif running is not None:
        where["phase"] = {"$ne" if running else "$eq": str(Phase.DONE)}
    before = number_key(cursor)
    if before is not None:
        where["epoch"] = {"$lt": before}
    found = await collections.failovers(parts.database).find(where, order=[("epoch", -1)], limit=limit + 1)
    page = found[:limit]
    return FailoverPage(page, cursor_after(page[-1].epoch) if len(found) > limit else None)


@get("/{failover_id:str}")
async def show(failover_id: FromPath[str], parts: PartsOf) -> Failover:
    return await _find(parts, failover_id)


@post("/{failover_id:str}/stop", status_code=202, opt={"role": UserRole.OPERATOR})
async def stop(
    failover_id: FromPath[str], parts: PartsOf, identity: IdentityOf, data: JSONBody[Stop | None] = None
) -> Failover:
    """Stop a failover; while the original is away that must be confirmed, since its cameras go dark."""
    failover = await _find(parts, failover_id)
    given = data.confirmation if data else None
    request = StopFailover(failover.id, identity.user)
    if given is not None:
        destroys = what_goes_dark(failover)
        expected = confirmation_for(identity.session, "stop-failover", failover.id, destroys)
        request = msgspec.structs.replace(request, confirmed=given == expected)
    try:
        return await parts.ask(
            STOP_FAILOVER, request, user=identity.user, what="stopped-failover", subject=failover.id
        )
    except ConfirmationRequired:
        require_confirmation(
            None,
            session=identity.session,
            action="stop-failover",
            subject=failover.id,
            destroys=what_goes_dark(failover),
        )
        raise


@post("/{failover_id:str}/stop-restoration", status_code=202, opt={"role": UserRole.OPERATOR})
async def stop_restoration(failover_id: FromPath[str], parts: PartsOf, identity: IdentityOf) -> Failover:
    """M18: what has not come across is removed."""
    failover = await _find(parts, failover_id)
    return await parts.ask(
        STOP_RESTORATION,
        StopRestoration(failover.id, identity.user),
        user=identity.user,
        what="stopped-restoration",
        subject=failover.id,
    )


@post("/", status_code=202, opt={"role": UserRole.OPERATOR})
async def start(
    server_id: FromPath[str], parts: PartsOf, identity: IdentityOf, data: JSONBody[StartByHand | None] = None
) -> Failover:
    """Start a failover by hand (M9)."""
    server = await find_recording_server(parts.database, server_id)
    wanted = data.failover_server if data else None
    if wanted is not None:
        spare = await find_server(parts.database, wanted)
        if spare.role is not Role.FAILOVER:
            raise InvalidInput(f"{spare.name} is a recording server: name a failover server, or none")
    return await parts.ask(
        START_FAILOVER,
        StartFailover(server.id, identity.user, wanted),
        user=identity.user,
        what="started-failover",
        subject=server.id,
    )


async def _find(parts: Parts, failover_id: str) -> Failover:
    epoch_of(failover_id)
    failover = await collections.failovers(parts.database).get(failover_id)
    if failover is None:
        raise NotFound(f"there is no failover {failover_id}")
    return failover


failovers_router = Router("/failovers", route_handlers=[list_failovers, show, stop, stop_restoration])
start_router = Router("/servers/{server_id:str}/failover", route_handlers=[start])
