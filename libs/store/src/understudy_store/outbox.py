"""The outbox: a change and the event that tells of it are written in one transaction; a relay publishes.

Each owner has an outbox of its own. Positions are given inside of the transaction by a counter, so that
their order is the order of commits; one relay at a time publishes, in that order.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec
import structlog
from pymongo import ASCENDING
from pymongo.errors import PyMongoError
from understudy_contracts.errors import UnderstudyError
from understudy_contracts.events import Event, EventBody, EventKind
from understudy_runtime.clock import Clock
from understudy_runtime.telemetry import current_traceparent
from understudy_runtime.waiting import go_on, wait_at_most

from understudy_store.database import Database, Session
from understudy_store.leases import Lease

KEPT_PUBLISHED_S: Final = 24 * 3600
POLL_S: Final = 0.5
AFTER_FAILURE_S: Final = 0.5
BATCH: Final = 200

log = structlog.get_logger()

Publish = Callable[[Event, str], Awaitable[None]]


class Happened(NamedTuple):
    """An event that is not in the outbox yet."""

    kind: EventKind
    subject: str
    event: str
    body: EventBody


class Outbox:
    """The events of one owner that wait to be published."""

    def __init__(self, database: Database, owner: str, clock: Clock) -> None:
        self._database = database
        self._owner = owner
        self._clock = clock
        self._entries = database.raw[f"outbox-{owner}"]
        self._appended = asyncio.Event()

    async def prepare(self) -> None:
        """Indexes: published entries are removed a day later by MongoDB itself."""
        await self._entries.create_index(
            [("published_at", ASCENDING)], expireAfterSeconds=KEPT_PUBLISHED_S, name="retention"
        )
        await self._entries.create_index([("waiting", ASCENDING), ("_id", ASCENDING)], name="waiting")

    async def append(
        self, session: Session, kind: EventKind, subject: str, event: str, body: EventBody
    ) -> None:
        """Put an event into the transaction of `session`; call `wake` once that is committed."""
        await self.append_all(session, [Happened(kind, subject, event, body)])

    async def append_all(self, session: Session, happened: Sequence[Happened]) -> None:
        """Put events into the transaction of `session`, in this order, with few calls of the database."""
        if not happened:
            return
        # A counter per outbox makes appending transactions conflict, and so commit one after the other.
        positions = await self._database.next_numbers(f"outbox-{self._owner}", len(happened), session)
        counters = [f"sequence-{one.kind}.{one.subject}-{self._owner}" for one in happened]
        sequences = await self._database.next_numbers_of(Counter(counters), session)
        following = {counter: iter(numbers) for counter, numbers in sequences.items()}
        now, traceparent = self._clock.wall_ms(), current_traceparent()
        entries = []
        for position, counter, one in zip(positions, counters, happened, strict=True):
            envelope = Event(
                id=f"{self._owner}-{position}",
                kind=one.kind,
                subject=one.subject,
                event=one.event,
                sequence=next(following[counter]),
                at=now,
                data=msgspec.Raw(msgspec.json.encode(one.body)),
            )
            body = msgspec.json.encode(envelope)
            entries.append({"_id": position, "waiting": True, "body": body, "traceparent": traceparent})
        await self._entries.insert_many(entries, session=session)

    def wake(self) -> None:
        """Tell the relay of this process that something was committed."""
        self._appended.set()

    async def relay(self, publish: Publish, instance: str) -> None:
        """Publish what waits, in order, as long as this instance holds the lease; runs until cancelled."""
        lease = Lease(self._database, f"relay-{self._owner}", instance)
        loop = asyncio.get_running_loop()
        held_until = 0.0
        try:
            while go_on():
                self._appended.clear()
                try:
                    if loop.time() > held_until - lease.ttl_s * 2 / 3:
                        asked_at = loop.time()
                        held_until = asked_at + lease.ttl_s if await lease.acquire() else 0.0
                    more = loop.time() < held_until and await self._publish_batch(publish)
                except (UnderstudyError, PyMongoError, OSError, TimeoutError) as error:
                    log.warning("relay pauses", owner=self._owner, error=str(error) or type(error).__name__)
                    await asyncio.sleep(AFTER_FAILURE_S)
                    continue
                if not more:
                    await wait_at_most(self._appended, POLL_S)
        finally:
            await _let_go(lease)

    async def _publish_batch(self, publish: Publish) -> bool:
        """Publish up to BATCH entries. Returns whether there may be more."""
        waiting: list[dict[str, Any]] = (
            await self._entries.find({"waiting": True}).sort("_id", ASCENDING).to_list(length=BATCH)
        )
        published: list[int] = []
        try:
            for entry in waiting:
                await publish(msgspec.json.decode(entry["body"], type=Event), entry["traceparent"])
                published.append(entry["_id"])
        finally:
            if published:
                await self._entries.update_many(
                    {"_id": {"$in": published}},
                    {"$set": {"waiting": False, "published_at": datetime.now(UTC)}},
                )
        return len(waiting) == BATCH


async def _let_go(lease: Lease) -> None:
    try:
        async with asyncio.timeout(1):
            await lease.release()
    except (UnderstudyError, PyMongoError, TimeoutError):
        log.debug("the relay's lease runs out by itself")
