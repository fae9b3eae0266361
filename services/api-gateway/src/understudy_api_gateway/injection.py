"""How handlers get at the parts: by the names `parts`, `accounts`, `identity` of their arguments."""

from __future__ import annotations

from typing import Any, TypeAlias

from litestar import Request
from litestar.di import NamedDependency, Provide

from understudy_api_gateway.identity import Identity
from understudy_api_gateway.parts import Parts
from understudy_api_gateway.resources.sessions.accounts import Accounts

PartsOf: TypeAlias = NamedDependency[Parts]
AccountsOf: TypeAlias = NamedDependency[Accounts]
IdentityOf: TypeAlias = NamedDependency[Identity]


def dependencies(parts: Parts, accounts: Accounts) -> dict[str, Provide]:
    """What the application hands to handlers that ask for it."""

    def identity(request: Request[Identity, Any, Any]) -> Identity:
        return request.user

    return {
        "parts": Provide(lambda: parts, sync_to_thread=False),
        "accounts": Provide(lambda: accounts, sync_to_thread=False),
        "identity": Provide(identity, sync_to_thread=False),
    }
