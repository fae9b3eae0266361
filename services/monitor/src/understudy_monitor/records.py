"""Verdicts and statuses in MongoDB, each change with its event."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

import msgspec
from understudy_contracts.events import StatusChanged, VerdictChanged
from understudy_contracts.servers import ServerStatus, ServerVerdict
from understudy_store.collections import statuses, verdicts
from understudy_store.database import Database, Documents, Session
from understudy_store.outbox import Happened, Outbox

# Of one transaction: a database holds the documents of a transaction locked until it ends.
BATCH: Final = 50

R = TypeVar("R", bound=msgspec.Struct)


class Records:
    """Writes what changed; a second monitor that found the same writes nothing."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._verdicts = verdicts(database)
        self._statuses = statuses(database)
        self._outbox = outbox

    async def verdicts(self) -> list[ServerVerdict]:
        return await self._verdicts.find()

    async def write(self, verdicts: Sequence[ServerVerdict], statuses: Sequence[ServerStatus]) -> None:
        """Store what is new of these, and tell of it."""
        for start in range(0, max(len(verdicts), len(statuses)), BATCH):
            batch = slice(start, start + BATCH)
            await self._database.transact(partial(self._store, verdicts[batch], statuses[batch]))
            self._outbox.wake()

    async def _store(
        self, verdicts: Sequence[ServerVerdict], statuses: Sequence[ServerStatus], session: Session
    ) -> None:
        known_verdicts = {
            known.server: known for known in await self._stored(self._verdicts, verdicts, session)
        }
        known_statuses = {
            known.server: known for known in await self._stored(self._statuses, statuses, session)
        }
        new_verdicts = [one for one in verdicts if not _same_verdict(known_verdicts.get(one.server), one)]
        new_statuses = [one for one in statuses if not _same_status(known_statuses.get(one.server), one)]
        await self._verdicts.replace_all(new_verdicts, session)
        await self._statuses.replace_all(new_statuses, session)
        await self._outbox.append_all(
            session,
            [
                *(Happened("server", one.server, "verdict", VerdictChanged(one)) for one in new_verdicts),
                *(Happened("server", one.server, "status", StatusChanged(one)) for one in new_statuses),
            ],
        )

    async def _stored(
        self, documents: Documents[R], new: Sequence[ServerVerdict | ServerStatus], session: Session
    ) -> list[R]:
        if not new:
            return []
        return await documents.find({"_id": {"$in": [one.server for one in new]}}, session=session)

    async def forget_all_but(self, servers: Iterable[str]) -> None:
        """Deleted servers have no verdict and no status any more."""
        known = set(servers)
        for verdict in await self._verdicts.find():
            if verdict.server not in known:
                await self._verdicts.delete(verdict.server)
        for status in await self._statuses.find():
            if status.server not in known:
                await self._statuses.delete(status.server)

    async def write_last_seen(self, last_seen: Mapping[str, int]) -> None:
        """When each machine was last heard, without an event: it changes with every heartbeat."""
        await self._statuses.touch_all("last_seen", last_seen)
        await self._verdicts.touch_all("last_seen", last_seen)


def _same_verdict(one: ServerVerdict | None, other: ServerVerdict) -> bool:
    return one is not None and (one.verdict, one.action, one.reason, one.machine) == (
        other.verdict,
        other.action,
        other.reason,
        other.machine,
    )


def _same_status(one: ServerStatus | None, other: ServerStatus) -> bool:
    if one is None:
        return False
    return msgspec.structs.replace(one, last_seen=None) == msgspec.structs.replace(other, last_seen=None)
