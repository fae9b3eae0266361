"""`/users`: who may log in. Seen and changed by administrators only."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import Router, delete, get, post
from litestar.params import FromPath, JSONBody
from msgspec import Meta
from understudy_contracts.errors import Conflict, NotFound
from understudy_contracts.ids import Id, check_id
from understudy_contracts.model import UserRole
from understudy_store.database import Session

from understudy_api_gateway.injection import AccountsOf, IdentityOf, PartsOf
from understudy_api_gateway.resources.sessions.accounts import SHORTEST_PASSWORD, User


class AddUser(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    username: Id
    password: Annotated[str, Meta(min_length=SHORTEST_PASSWORD, max_length=1000)]
    role: UserRole

    def __repr__(self) -> str:
        return f"AddUser(username={self.username!r}, password=***, role={self.role!r})"


class UserView(msgspec.Struct, frozen=True):
    username: str
    role: UserRole
    created_at: int


class UserList(msgspec.Struct, frozen=True):
    items: list[UserView]


@get("/", opt={"role": UserRole.ADMINISTRATOR})
async def list_users(accounts: AccountsOf) -> UserList:
    return UserList([_view(user) for user in await accounts.users.find(order=[("_id", 1)])])


@post("/")
async def add(
    data: JSONBody[AddUser], parts: PartsOf, accounts: AccountsOf, identity: IdentityOf
) -> UserView:
    user = await accounts.made(data.username, data.password, data.role)

    async def work(session: Session) -> None:
        if await accounts.users.get(user.name, session) is not None:
            raise Conflict(f"there is a user {user.name} already")
        await accounts.users.insert(user, session)
        await parts.journal.write(session, identity.user, "added-user", user.name, role=str(user.role))

    await parts.change(work)
    return _view(user)


@delete("/{username:str}")
async def remove(username: FromPath[str], parts: PartsOf, accounts: AccountsOf, identity: IdentityOf) -> None:
    """Remove a user, and end their sessions; the last administrator stays."""
    check_id(username, "user name")

    async def work(session: Session) -> None:
        user = await accounts.users.get(username, session)
        if user is None:
            raise NotFound(f"there is no user {username}")
        if user.role is UserRole.ADMINISTRATOR:
            administrators = await accounts.users.find({"role": str(UserRole.ADMINISTRATOR)}, session=session)
            if len(administrators) == 1:
                raise Conflict(f"{username} is the last administrator: add another one first")
        await accounts.users.delete(username, session)
        await accounts.sessions.raw.delete_many({"user": username}, session=session)
        await parts.journal.write(session, identity.user, "removed-user", username)

    await parts.change(work)


def _view(user: User) -> UserView:
    return UserView(user.name, user.role, user.created_at)


users_router = Router("/users", route_handlers=[list_users, add, remove])
