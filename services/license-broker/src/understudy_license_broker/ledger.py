"""Keys and ledger in the database. A move is the key's document, the ledger's entry and the event, in one
transaction: that alone keeps the three in step (promise P1)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator, Sequence
from itertools import pairwise
from typing import Any, Final, Literal, TypeVar

import msgspec
from understudy_contracts.errors import Conflict, InvalidInput, StaleEpoch
from understudy_contracts.events import KeysMoved
from understudy_contracts.ids import FailoverId
from understudy_contracts.licenses import LedgerEntry, LicenseKey
from understudy_runtime.clock import Clock
from understudy_store import collections
from understudy_store.database import Database, Session
from understudy_store.outbox import Outbox

from understudy_license_broker.moves import Move, check_epoch, plan_lending, plan_returning

R = TypeVar("R")

POSITIONS: Final = "license-ledger"
# One event names at most so many keys, so that it always fits the bus.
KEYS_PER_EVENT: Final = 1000

What = Literal["imported", "moved", "returned"]


class Borrower(msgspec.Struct, frozen=True):
    """A failover that asked for keys, and the highest step of its that was accepted: once it has returned
    its keys, only a later step borrows again (its original died again while it was handed back to)."""

    failover: FailoverId
    returned: bool = False
    step: int = 0
    requests: int = 0


class Ledger:
    """Who holds which key, and how it came to that."""

    def __init__(self, database: Database, outbox: Outbox, clock: Clock) -> None:
        self._database = database
        self._outbox = outbox
        self._clock = clock
        self._keys = collections.license_keys(database)
        self._entries = collections.license_ledger(database)
        self._borrowers = database.documents("license-borrowers", Borrower, "failover")

    async def prepare(self) -> None:
        """Indexes."""
        await self._keys.index("holder", name="held-by")
        await self._keys.index("home", name="home")
        await self._keys.index("failover", name="lent-to")
        await self._entries.index("failover", name="moves-of-a-failover")
        await self._entries.index("key", "_id", name="moves-of-a-key")

    async def keys(self, holder: str | None = None) -> list[LicenseKey]:
        """All keys, or those that `holder` holds, by key."""
        where = {} if holder is None else {"holder": holder}
        return await self._keys.find(where, order=[("_id", 1)])

    async def entries(self, after: int, limit: int) -> list[LedgerEntry]:
        """Entries after position `after`, oldest first."""
        return await self._entries.find({"_id": {"$gt": after}}, order=[("_id", 1)], limit=limit)

    async def import_keys(self, keys: Sequence[str], server: str, by: str) -> list[LicenseKey]:
        """Put new keys into the ledger, held by `server`; all of them or none.

        Raises:
            Conflict: one is in the ledger already; the error names it.
            InvalidInput: one occurs twice in the request.
        """
        twice = [one for one, other in pairwise(sorted(keys)) if one == other]
        if twice:
            raise InvalidInput(f"the key {twice[0]} occurs twice in the import: nothing was imported")
        now = self._clock.wall_ms()
        new = [LicenseKey(key=key, holder=server, since=now) for key in keys]

        async def work(session: Session) -> list[LicenseKey]:
            known = await self._keys.find({"_id": {"$in": list(keys)}}, order=[("_id", 1)], session=session)
            if known:
                raise Conflict(
                    f"the key {known[0].key} is in the ledger already, held by {known[0].holder}: "
                    "nothing was imported",
                    key=known[0].key,
                    keys=[each.key for each in known[:100]],
                )
            await self._keys.insert_all(new, session)
            moves = [Move(msgspec.structs.replace(key, holder=None), key) for key in new]
            await self._record(session, moves, "imported", f"imported by {by}", None)
            return new

        return await self._transact(work)

    async def lend(
        self, failover: str, epoch: int, source: str, target: str, count: int, *, step: int = 0
    ) -> list[LicenseKey]:
        """Lend up to `count` keys of `source` to `target`; asked again, the keys that were moved then.

        Raises:
            StaleEpoch: this failover has returned its keys in this step or a later one.
            InvalidInput: source and target are the same, or the epoch is another failover's.
        """
        check_epoch(failover, epoch)

        async def work(session: Session) -> list[LicenseKey]:
            borrower = await self._borrower(session, failover, step, returns=False)
            if borrower.returned and step <= borrower.step:
                raise StaleEpoch(f"{failover} has returned its keys: step {step} borrows no more")
            concerned = {"$or": [{"holder": source}, {"home": source}, {"failover": failover}]}
            keys = await self._keys.find(concerned, session=session)
            moves = plan_lending(keys, failover, source, target, count, self._clock.wall_ms())
            await self._carry_out(session, moves, "moved", f"lent for {failover}", failover)
            return await self._keys.find({"failover": failover}, order=[("_id", 1)], session=session)

        return await self._transact(work)

    async def give_back(self, failover: str, epoch: int, *, step: int = 0) -> list[LicenseKey]:
        """Return every key that `failover` borrowed. The answer is the keys that it ever gave back, as they
        are now, so that asking again gets the same.

        Raises:
            InvalidInput: the epoch is another failover's.
            StaleEpoch: a later step of this failover has borrowed keys since.
        """
        check_epoch(failover, epoch)

        async def work(session: Session) -> list[LicenseKey]:
            await self._borrower(session, failover, step, returns=True)
            keys = await self._keys.find({"failover": failover}, session=session)
            moves = plan_returning(keys, failover, self._clock.wall_ms())
            await self._carry_out(session, moves, "returned", _returned_by(failover), failover)
            return await self._given_back(session, failover)

        return await self._transact(work)

    async def _given_back(self, session: Session, failover: str) -> list[LicenseKey]:
        entries = await self._entries.find({"failover": failover}, session=session)
        keys = sorted({entry.key for entry in entries if entry.reason == _returned_by(failover)})
        return await self._keys.find({"_id": {"$in": keys}}, order=[("_id", 1)], session=session)

    async def _borrower(self, session: Session, failover: str, step: int, *, returns: bool) -> Borrower:
        """The borrower's document as it was, written each time: requests of one failover conflict, and so
        come one after the other, also where they find no key to conflict on.

        Raises:
            StaleEpoch: a later step was accepted before.
        """
        found = await self._borrowers.get(failover, session) or Borrower(failover)
        if step < found.step:
            raise StaleEpoch(f"step {step} of {failover} is older than step {found.step}")
        written = Borrower(failover, returns, step, found.requests + 1)
        await self._borrowers.replace(written, session, upsert=True)
        return found

    async def _carry_out(
        self, session: Session, moves: list[Move], what: What, reason: str, failover: str | None
    ) -> None:
        """Write the keys, each only if it is held as was planned."""
        for (holder, lent_to), group in _alike(moves):
            result = await self._keys.raw.update_many(
                {
                    "_id": {"$in": [move.before.key for move in group]},
                    "holder": holder,
                    "failover": lent_to,
                },
                _update(group[0].after),
                session=session,
            )
            if result.matched_count != len(group):
                raise Conflict("keys were moved by somebody else meanwhile: ask again")
        await self._record(session, moves, what, reason, failover)

    async def _record(
        self, session: Session, moves: list[Move], what: What, reason: str, failover: str | None
    ) -> None:
        if not moves:
            return
        positions = await self._database.next_numbers(POSITIONS, len(moves), session)
        await self._entries.insert_all(
            [
                LedgerEntry(
                    position=position,
                    key=move.after.key,
                    at=move.after.since,
                    reason=reason,
                    source=move.before.holder,
                    target=move.after.holder,
                    failover=failover,
                )
                for position, move in zip(positions, moves, strict=True)
            ],
            session,
        )
        by_holder: dict[str, list[LicenseKey]] = defaultdict(list)
        for move in moves:
            if move.after.holder is not None:
                by_holder[move.after.holder].append(move.after)
        for holder, keys in by_holder.items():
            for start in range(0, len(keys), KEYS_PER_EVENT):
                body = KeysMoved(keys[start : start + KEYS_PER_EVENT], failover)
                await self._outbox.append(session, "license", holder, what, body)

    async def _transact(self, work: Callable[[Session], Coroutine[Any, Any, R]]) -> R:
        result = await self._database.transact(work)
        self._outbox.wake()
        return result


def _returned_by(failover: str) -> str:
    return f"returned by {failover}"


def _alike(moves: list[Move]) -> Iterator[tuple[tuple[str | None, str | None], list[Move]]]:
    """Moves that one update can write: of the same holder and borrower, to the same end."""
    groups: dict[tuple[str | None, ...], list[Move]] = defaultdict(list)
    for move in moves:
        before, after = move.before, move.after
        groups[before.holder, before.failover, after.holder, after.home, after.failover].append(move)
    for (holder, lent_to, *_), group in groups.items():
        yield (holder, lent_to), group


def _update(after: LicenseKey) -> dict[str, Any]:
    moved = {"holder": after.holder, "since": after.since}
    if after.failover is None:
        # A key at home has neither field: structs leave out what is default.
        return {"$set": moved, "$unset": {"home": "", "failover": ""}}
    return {"$set": {**moved, "home": after.home, "failover": after.failover}}
