"""Verdicts and statuses in MongoDB, each change with its event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from understudy_contracts.errors import Conflict
from understudy_contracts.events import StatusChanged, VerdictChanged
from understudy_contracts.servers import ServerStatus, ServerVerdict
from understudy_store.collections import statuses, verdicts
from understudy_store.database import Database, Session
from understudy_store.outbox import Outbox


class Records:
    """Writes what changed; a second monitor that found the same writes nothing."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._verdicts = verdicts(database)
        self._statuses = statuses(database)
        self._outbox = outbox
        self._published: dict[str, ServerStatus] = {}

    async def verdicts(self) -> list[ServerVerdict]:
        return await self._verdicts.find()

    async def write_verdicts(self, changed: Sequence[ServerVerdict]) -> None:
        """Store each and tell of it."""

        async def work(session: Session) -> None:
            for verdict in changed:
                stored = await self._verdicts.get(verdict.server, session)
                if stored is not None and _same_verdict(stored, verdict):
                    continue
                await self._verdicts.replace(verdict, session, upsert=True)
                await self._outbox.append(
                    session, "server", verdict.server, "verdict", VerdictChanged(verdict)
                )

        if changed:
            await self._database.transact(work)
            self._outbox.wake()

    async def write_statuses(self, found: Mapping[str, ServerStatus]) -> None:
        """Store and publish the statuses that differ from the last published ones; forget deleted servers."""
        changed = [s for s in found.values() if not _same_status(self._published.get(s.server), s)]
        gone = [server for server in self._published if server not in found]
        if not changed and not gone:
            return

        async def work(session: Session) -> None:
            for status in changed:
                stored = await self._statuses.get(status.server, session)
                if _same_status(stored, status):
                    continue
                await self._statuses.replace(status, session, upsert=True)
                await self._outbox.append(session, "server", status.server, "status", StatusChanged(status))
            for server in gone:
                await self._statuses.delete(server, session)
                await self._verdicts.delete(server, session)

        try:
            await self._database.transact(work)
        except Conflict:
            return  # another monitor wrote the same first; the next look compares again
        self._outbox.wake()
        self._published = dict(found)

    async def write_last_seen(self, found: Mapping[str, ServerStatus]) -> None:
        """When each machine was last heard, without an event: it changes with every heartbeat."""
        for status in found.values():
            if status.last_seen is not None:
                await self._statuses.touch(status.server, "last_seen", status.last_seen)
                await self._verdicts.touch(status.server, "last_seen", status.last_seen)


def _same_verdict(one: ServerVerdict, other: ServerVerdict) -> bool:
    return (one.verdict, one.action, one.reason, one.machine) == (
        other.verdict,
        other.action,
        other.reason,
        other.machine,
    )


def _same_status(one: ServerStatus | None, other: ServerStatus) -> bool:
    if one is None:
        return False
    return msgspec.structs.replace(one, last_seen=None) == msgspec.structs.replace(other, last_seen=None)
