"""`/servers/{id}/maintenance`: planned work on a recording server, during which no trigger of its acts.

It ends by itself; the monitor counts the time.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec
from litestar import Router, delete, put
from litestar.params import FromPath, JSONBody
from msgspec import Meta
from understudy_contracts.errors import InvalidInput
from understudy_contracts.model import Role, UserRole
from understudy_contracts.servers import Server

from understudy_api_gateway.injection import IdentityOf, PartsOf
from understudy_api_gateway.resources.servers.registry import (
    change_server,
    find_server,
    view_one,
)
from understudy_api_gateway.resources.servers.views import ServerView

LONGEST_S: Final = 7 * 86_400
_OPERATOR = {"role": UserRole.OPERATOR}  # who may stop a failover may hold one, too


class Planned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Either `until`, a time with its zone (RFC 3339), or `for_s`, seconds from now; at most seven days."""

    until: Annotated[datetime, Meta(tz=True)] | None = None
    for_s: Annotated[float, Meta(ge=1, le=LONGEST_S)] | None = None


def end_of(planned: Planned, now_ms: int) -> int:
    """When the maintenance ends, in UTC milliseconds.

    Raises:
        InvalidInput: both or neither are given, or a time in the past or too far ahead.
    """
    if (planned.until is None) == (planned.for_s is None):
        raise InvalidInput(
            "say when the maintenance ends: either until, a time like 2026-01-31T12:00:00Z, "
            "or for_s, seconds from now"
        )
    if planned.for_s is not None:
        return now_ms + round(planned.for_s * 1000)
    assert planned.until is not None  # noqa: S101 - for the type checker: one of the two is given
    until_ms = round((planned.until - datetime.fromtimestamp(0, UTC)).total_seconds() * 1000)
    if until_ms <= now_ms:
        raise InvalidInput("until lies in the past: maintenance ends in the future")
    if until_ms > now_ms + LONGEST_S * 1000:
        raise InvalidInput("until lies more than seven days ahead: disable a server that is away for longer")
    return until_ms


@put("/", opt=_OPERATOR)
async def plan(
    server_id: FromPath[str], data: JSONBody[Planned], parts: PartsOf, identity: IdentityOf
) -> ServerView:
    """Hold the server's triggers until then; what was planned before is replaced."""
    server = await find_server(parts.database, server_id)
    if server.role is not Role.RECORDING:
        raise InvalidInput(f"{server.name} is a failover server, which triggers nothing: disable it instead")
    until = end_of(data, parts.clock.wall_ms())

    def changed(before: Server) -> Server:
        return msgspec.structs.replace(before, maintenance_until=until)

    after = await change_server(
        parts, identity.user, server.id, "planned-maintenance", changed, maintenance_until=until
    )
    return await view_one(parts, after)


@delete("/", status_code=200, opt=_OPERATOR)
async def end(server_id: FromPath[str], parts: PartsOf, identity: IdentityOf) -> ServerView:
    """End it now: triggers act again at once. Without any, nothing changes."""
    server = await find_server(parts.database, server_id)

    def changed(before: Server) -> Server:
        return msgspec.structs.replace(before, maintenance_until=None)

    return await view_one(
        parts, await change_server(parts, identity.user, server.id, "ended-maintenance", changed)
    )


maintenance_router = Router("/servers/{server_id:str}/maintenance", route_handlers=[plan, end])
