"""The application: all resources under /api/v1, the console at /."""

from __future__ import annotations

from typing import Any

from litestar import Litestar, Request, Response, Router, get
from litestar.config.response_cache import ResponseCacheConfig
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import ASGIApp
from understudy_contracts.errors import UnderstudyError

from understudy_api_gateway.edge import Edge
from understudy_api_gateway.idempotency import Idempotency
from understudy_api_gateway.identity import guard_with
from understudy_api_gateway.injection import dependencies
from understudy_api_gateway.parts import Parts
from understudy_api_gateway.problems import from_http_exception, from_surprise, from_understudy_error
from understudy_api_gateway.resources.audit import audit_router
from understudy_api_gateway.resources.cameras.handlers import cameras_router, server_cameras_router
from understudy_api_gateway.resources.console import console_router
from understudy_api_gateway.resources.events.handlers import events_router
from understudy_api_gateway.resources.failover_settings import (
    failover_defaults_router,
    failover_settings_router,
)
from understudy_api_gateway.resources.failovers.handlers import failovers_router, start_router
from understudy_api_gateway.resources.health import health_router
from understudy_api_gateway.resources.joining.handlers import join_router
from understudy_api_gateway.resources.licenses import licenses_router
from understudy_api_gateway.resources.media.handlers import media_router
from understudy_api_gateway.resources.pairing import pairing_router
from understudy_api_gateway.resources.servers.handlers import servers_router
from understudy_api_gateway.resources.servers.maintenance import maintenance_router
from understudy_api_gateway.resources.sessions.accounts import Accounts
from understudy_api_gateway.resources.sessions.handlers import sessions_router
from understudy_api_gateway.resources.settings.handlers import settings_router
from understudy_api_gateway.resources.users import users_router
from understudy_api_gateway.strictness import StrictRequest

_RESOURCES = [
    sessions_router,
    servers_router,
    pairing_router,
    maintenance_router,
    settings_router,
    server_cameras_router,
    cameras_router,
    media_router,
    failover_defaults_router,
    failover_settings_router,
    start_router,
    failovers_router,
    licenses_router,
    events_router,
    users_router,
    audit_router,
    join_router,
]


@get("/openapi.json", opt={"public": True}, include_in_schema=False, sync_to_thread=False)
def openapi(request: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
    return Response(request.app.openapi_schema.to_schema(), media_type="application/json")


def make_application(parts: Parts, accounts: Accounts, idempotency: Idempotency) -> ASGIApp:
    """The ASGI application of one gateway."""
    api = Router("/api/v1", route_handlers=[*_RESOURCES, openapi])
    application = Litestar(
        route_handlers=[api, health_router, console_router],
        dependencies=dependencies(parts, accounts),
        request_class=StrictRequest,
        guards=[guard_with(accounts.identify)],
        before_request=idempotency.before,
        exception_handlers={
            UnderstudyError: from_understudy_error,
            HTTPException: from_http_exception,
            Exception: from_surprise,
        },
        openapi_config=OpenAPIConfig(
            title="Understudy",
            version="1",
            path="/api/v1/schema",
            render_plugins=[JsonRenderPlugin(path="/openapi.json")],
            components=Components(security_schemes={"bearer": SecurityScheme(type="http", scheme="bearer")}),
            security=[{"bearer": []}],
        ),
        response_cache_config=ResponseCacheConfig(),
        logging_config=None,
        request_max_body_size=None,
    )
    return Edge(application, parts, idempotency)
