"""`/audit`: who changed what, and when; the newest first. Seen by administrators only."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import Router, get
from litestar.params import FromQuery, QueryParameter
from understudy_contracts.model import UserRole

from understudy_api_gateway.cursors import cursor_after, number_key
from understudy_api_gateway.injection import PartsOf
from understudy_api_gateway.journal import AuditEntry


class AuditPage(msgspec.Struct, frozen=True):
    items: list[AuditEntry]
    next: str | None


@get("/", opt={"role": UserRole.ADMINISTRATOR})
async def list_entries(
    parts: PartsOf,
    cursor: FromQuery[str | None] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=1000)] = 100,
) -> AuditPage:
    before = number_key(cursor)
    where = {} if before is None else {"_id": {"$lt": before}}
    found = await parts.journal.entries.find(where, order=[("_id", -1)], limit=limit + 1)
    page = found[:limit]
    return AuditPage(page, cursor_after(page[-1].position) if len(found) > limit else None)


audit_router = Router("/audit", route_handlers=[list_entries])
