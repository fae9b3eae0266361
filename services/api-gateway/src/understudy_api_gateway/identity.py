"""Who asks, and whether they may: one guard before every handler.

A handler that says nothing is closed: reading needs a viewer, anything else an administrator. Handlers
say otherwise by `opt`: `public=True`, or `role=UserRole.X`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from understudy_contracts.errors import Refused
from understudy_contracts.model import UserRole

from understudy_api_gateway.problems import Unauthenticated

_RANK = {UserRole.VIEWER: 0, UserRole.OPERATOR: 1, UserRole.ADMINISTRATOR: 2}
_READING = {"GET", "HEAD", "OPTIONS"}

Connection = ASGIConnection[Any, Any, Any, Any]
Guard = Callable[[Connection, BaseRouteHandler], Awaitable[None]]


class Identity(msgspec.Struct, frozen=True):
    """The user of a request; `session` is the hash of the session's token."""

    user: str
    role: UserRole
    session: str

    def may(self, needed: UserRole) -> bool:
        return _RANK[self.role] >= _RANK[needed]


def needed_role(method: str, options: dict[str, Any]) -> UserRole | None:
    """The least role for a handler with these `opt`; None where no login is needed."""
    if options.get("public"):
        return None
    said = options.get("role")
    if isinstance(said, UserRole):
        return said
    return UserRole.VIEWER if method in _READING else UserRole.ADMINISTRATOR


def bearer_token(header: str | None) -> str:
    """The token in an `Authorization` header.

    Raises:
        Unauthenticated: there is none.
    """
    scheme, _, token = (header or "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > 200:
        raise Unauthenticated("log in first: POST /api/v1/session, then send Authorization: Bearer <token>")
    return token


def guard_with(identify: Callable[[str], Awaitable[Identity]]) -> Guard:
    """The guard of the whole application; `identify` tells who holds a token."""

    async def guard(connection: Connection, handler: BaseRouteHandler) -> None:
        needed = needed_role(str(connection.scope.get("method", "")), handler.opt)
        if needed is None:
            return
        identity = await identify(bearer_token(connection.headers.get("authorization")))
        if not identity.may(needed):
            raise Refused(f"this needs the role {needed}; {identity.user} is {identity.role}")
        connection.scope["user"] = identity

    return guard
