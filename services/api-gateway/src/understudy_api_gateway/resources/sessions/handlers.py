"""`/session`: POST login, DELETE logout."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import Router, delete, post
from litestar.params import JSONBody
from msgspec import Meta
from understudy_contracts.model import UserRole

from understudy_api_gateway.injection import AccountsOf, IdentityOf


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    username: Annotated[str, Meta(max_length=200)]
    password: Annotated[str, Meta(max_length=1000)]

    def __repr__(self) -> str:
        return f"Login(username={self.username!r}, password=***)"


class LoggedInUser(msgspec.Struct, frozen=True):
    username: str
    role: UserRole


class LoggedIn(msgspec.Struct, frozen=True):
    """`expires_at` in UTC milliseconds."""

    token: str
    expires_at: int
    user: LoggedInUser


@post("/", opt={"public": True})
async def log_in(data: JSONBody[Login], accounts: AccountsOf) -> LoggedIn:
    token, opened, user = await accounts.log_in(data.username, data.password)
    return LoggedIn(token, opened.expires_at, LoggedInUser(user.name, user.role))


@delete("/", opt={"role": UserRole.VIEWER})
async def log_out(identity: IdentityOf, accounts: AccountsOf) -> None:
    await accounts.log_out(identity)


sessions_router = Router("/session", route_handlers=[log_in, log_out])
