"""Verdicts and statuses in MongoDB, each change with its event."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Final, TypeVar

import msgspec
from understudy_contracts.events import StatusChanged, VerdictChanged
from understudy_contracts.servers import ServerStatus, ServerVerdict
from understudy_store.collections import statuses, verdicts
from understudy_store.database import Database, Session
from understudy_store.outbox import Outbox

# Of one transaction: a database holds the documents of a transaction locked until it ends.
BATCH: Final = 50

T = TypeVar("T")


class Records:
    """Writes what changed; a second monitor that found the same writes nothing."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._verdicts = verdicts(database)
        self._statuses = statuses(database)
        self._outbox = outbox

    async def verdicts(self) -> list[ServerVerdict]:
        return await self._verdicts.find()

    async def write_verdicts(self, changed: Sequence[ServerVerdict]) -> None:
        """Store each and tell of it."""

        async def store(session: Session, verdict: ServerVerdict) -> None:
            stored = await self._verdicts.get(verdict.server, session)
            if stored is not None and _same_verdict(stored, verdict):
                return
            await self._verdicts.replace(verdict, session, upsert=True)
            await self._outbox.append(session, "server", verdict.server, "verdict", VerdictChanged(verdict))

        await self._in_batches(changed, store)

    async def write_statuses(self, changed: Sequence[ServerStatus]) -> None:
        """Store each and tell of it."""

        async def store(session: Session, status: ServerStatus) -> None:
            if _same_status(await self._statuses.get(status.server, session), status):
                return
            await self._statuses.replace(status, session, upsert=True)
            await self._outbox.append(session, "server", status.server, "status", StatusChanged(status))

        await self._in_batches(changed, store)

    async def _in_batches(
        self, changed: Sequence[T], store: Callable[[Session, T], Coroutine[None, None, None]]
    ) -> None:
        for start in range(0, len(changed), BATCH):
            batch = changed[start : start + BATCH]

            async def work(session: Session, batch: Sequence[T] = batch) -> None:
                for document in batch:
                    await store(session, document)

            await self._database.transact(work)
            self._outbox.wake()

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
        for server, seen in last_seen.items():
            await self._statuses.touch(server, "last_seen", seen)
            await self._verdicts.touch(server, "last_seen", seen)


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
