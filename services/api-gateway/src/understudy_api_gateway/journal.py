"""The audit: who changed what, and when; and the events that tell of it. No secrets."""

from __future__ import annotations

from typing import Any

import msgspec
from understudy_contracts.events import UserDid
from understudy_runtime.clock import Clock
from understudy_store.database import Database, Documents, Session
from understudy_store.outbox import Outbox


class AuditEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """`what` is a word like `added-server`, `subject` the id of what was changed; `at` in UTC ms."""

    position: int
    at: int
    user: str
    what: str
    subject: str = ""
    details: dict[str, Any] = {}


class Journal:
    """Written in the transaction of the change itself, so that neither is without the other."""

    def __init__(self, database: Database, outbox: Outbox, clock: Clock) -> None:
        self._database = database
        self._outbox = outbox
        self._clock = clock
        self.entries: Documents[AuditEntry] = database.documents("audit", AuditEntry, "position")

    async def write(self, session: Session, user: str, what: str, subject: str = "", **details: Any) -> None:
        """Record that `user` did `what`, and publish it as `user.<user>.<what>`."""
        position = await self._database.next_number("audit", session)
        entry = AuditEntry(position, self._clock.wall_ms(), user, what, subject, details)
        await self.entries.insert(entry, session)
        body = UserDid(user, what, {**details, "subject": subject} if subject else details)
        await self._outbox.append(session, "user", user, what, body)
