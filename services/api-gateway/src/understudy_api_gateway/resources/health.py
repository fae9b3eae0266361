"""`/health/live`, `/health/ready`, `/metrics`: no login, no secrets."""

from __future__ import annotations

import msgspec
from litestar import Response, Router, get
from prometheus_client import generate_latest
from understudy_contracts.errors import UnderstudyError
from understudy_store import collections

from understudy_api_gateway.injection import PartsOf
from understudy_api_gateway.problems import problem

_TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Health(msgspec.Struct, frozen=True):
    status: str


@get("/health/live", opt={"public": True})
async def live() -> Health:
    """The process answers."""
    return Health("ok")


@get("/health/ready", opt={"public": True})
async def ready(parts: PartsOf) -> Response[bytes]:
    """Bus and database answer."""
    missing = [] if parts.bus.connected else ["the bus"]
    try:
        await collections.failover_defaults(parts.database).get(collections.DEFAULTS_ID)
    except UnderstudyError:
        missing.append("the database")
    if missing:
        return problem("unavailable", f"{' and '.join(missing)} cannot be reached")
    return Response(msgspec.json.encode(Health("ok")), media_type="application/json")


@get("/metrics", opt={"public": True}, media_type=_TEXT)
async def show_metrics(parts: PartsOf) -> bytes:
    parts.metrics.readers.set(parts.readers)
    return generate_latest(parts.metrics.registry)


health_router = Router("/", route_handlers=[live, ready, show_metrics], include_in_schema=False)
