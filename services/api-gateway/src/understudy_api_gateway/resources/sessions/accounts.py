"""Users and their sessions, as they are kept. Of a token only its hash is."""

from __future__ import annotations

import hashlib
import secrets

import msgspec
from understudy_contracts.errors import ConfigurationError, Conflict
from understudy_contracts.ids import Id
from understudy_contracts.model import UserRole
from understudy_store.database import Session

from understudy_api_gateway.identity import Identity
from understudy_api_gateway.parts import Parts
from understudy_api_gateway.problems import TooManyAttempts, Unauthenticated
from understudy_api_gateway.resources.sessions.passwords import Passwords
from understudy_api_gateway.resources.sessions.throttle import Throttle

FIRST_ADMINISTRATOR = "admin"
SHORTEST_PASSWORD = 8


class User(msgspec.Struct, frozen=True):
    name: Id
    password_hash: str
    role: UserRole
    created_at: int

    def __repr__(self) -> str:
        return f"User(name={self.name!r}, role={self.role!r})"


class UserSession(msgspec.Struct, frozen=True):
    """`id` is the hash of the token; times in UTC milliseconds."""

    id: str
    user: Id
    created_at: int
    expires_at: int


def hash_of(token: str) -> str:
    """What is kept of a random token: it cannot be used, and needs no slow hash, having 256 random bits."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class Accounts:
    """Who may log in, and who is logged in."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._throttle = Throttle()
        self.passwords = Passwords()
        self.users = parts.database.documents("users", User, "name")
        self.sessions = parts.database.documents("sessions", UserSession, "id")

    async def prepare(self) -> None:
        """Make the first administrator.

        Raises:
            ConfigurationError: there are no users, and no usable password for the first.
        """
        await self.sessions.index("user", name="user")
        await self.passwords.prepare()
        if await self.users.count():
            return
        password = self._parts.settings.administrator_password
        if not password:
            raise ConfigurationError(
                "there are no users yet: set UNDERSTUDY_ADMINISTRATOR_PASSWORD_FILE to a file with the "
                f"password of the first one, {FIRST_ADMINISTRATOR}"
            )
        if len(password) < SHORTEST_PASSWORD:
            raise ConfigurationError(f"the administrator's password is shorter than {SHORTEST_PASSWORD}")
        user = await self.made(FIRST_ADMINISTRATOR, password, UserRole.ADMINISTRATOR)

        async def work(session: Session) -> None:
            await self.users.insert(user, session)
            await self._parts.journal.write(session, user.name, "created-first-administrator", user.name)

        try:
            await self._parts.change(work)
        except Conflict:
            return  # another gateway that starts at the same time made it

    async def made(self, name: str, password: str, role: UserRole) -> User:
        """A user with the hash of this password; not stored yet."""
        hashed = await self.passwords.hash(password)
        return User(name, hashed, role, self._parts.clock.wall_ms())

    async def log_in(self, name: str, password: str) -> tuple[str, UserSession, User]:
        """A new session, with its token.

        Raises:
            Unauthenticated: no such user, or not their password; which of them is not told.
            TooManyAttempts: too many failures in a row for this name, or too many logins at once.
        """
        now = self._parts.clock.monotonic()
        wait = self._throttle.wait_s(name, now)
        if wait > 0 or self.passwords.busy:
            seconds = max(1, round(wait + 0.5))
            raise TooManyAttempts(f"too many failed logins: try again in {seconds} s", retry_after_s=seconds)
        user = await self.users.get(name)
        if not await self.passwords.verify(password, user.password_hash if user else None) or user is None:
            self._throttle.failed(name, self._parts.clock.monotonic())
            if user is not None:
                await self._note_refusal(name)
            raise Unauthenticated("wrong user name or password")
        self._throttle.succeeded(name)
        token = secrets.token_urlsafe(32)
        created = self._parts.clock.wall_ms()
        expires = created + round(self._parts.settings.session_hours * 3_600_000)
        opened = UserSession(hash_of(token), name, created, expires)

        async def work(session: Session) -> None:
            await self.sessions.insert(opened, session)
            await self._parts.journal.write(session, name, "logged-in")

        await self._parts.change(work)
        return token, opened, user

    async def log_out(self, identity: Identity) -> None:
        async def work(session: Session) -> None:
            if await self.sessions.delete(identity.session, session):
                await self._parts.journal.write(session, identity.user, "logged-out")

        await self._parts.change(work)

    async def identify(self, token: str) -> Identity:
        """Who holds `token`.

        Raises:
            Unauthenticated: nobody (any more).
        """
        return await self.identity_of(hash_of(token))

    async def identity_of(self, session: str) -> Identity:
        """Whose session this is (told by the hash of its token).

        Raises:
            Unauthenticated: it has ended.
        """
        opened = await self.sessions.get(session)
        if opened is not None and opened.expires_at > self._parts.clock.wall_ms():
            user = await self.users.get(opened.user)
            if user is not None:
                return Identity(user.name, user.role, session)
        raise Unauthenticated("this login has ended: log in again")

    async def _note_refusal(self, name: str) -> None:
        async def work(session: Session) -> None:
            await self._parts.journal.write(session, name, "refused")

        await self._parts.change(work)
