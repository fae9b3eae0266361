"""Leases: who drives a failover, who relays an outbox. One document each, with an expiry and a term.

The term grows with each new holder and fences the old one (house.md, Leases). Expiry is judged by the
database's clock, the one clock that all instances share.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError, PyMongoError

from understudy_store.database import Database, Session, translated

DEFAULT_TTL_S: Final = 3.0


class Lease:
    """The right of one instance to do `name` until it expires; renew it at a third of its time to live."""

    def __init__(self, database: Database, name: str, holder: str, ttl_s: float = DEFAULT_TTL_S) -> None:
        self._leases = database.raw["leases"]
        self._name = name
        self._holder = holder
        self.ttl_s = ttl_s
        self.term = 0

    async def acquire(self) -> bool:
        """Take or renew it. Returns False when another holds it.

        Raises:
            Unavailable: MongoDB does not answer: consider the lease lost once it may have expired.
        """
        expires = {"$add": ["$$NOW", int(self.ttl_s * 1000)]}
        mine = {"$eq": [{"$ifNull": ["$holder", None]}, self._holder]}
        free: Mapping[str, Any] = {"$lt": [{"$ifNull": ["$expires", "$$NOW"]}, "$$NOW"]}
        try:
            document: dict[str, Any] | None = await self._leases.find_one_and_update(
                {"_id": self._name, "$expr": {"$or": [mine, free]}},
                [
                    {
                        "$set": {
                            "term": {"$cond": [mine, "$term", {"$add": [{"$ifNull": ["$term", 0]}, 1]}]},
                            "holder": self._holder,
                            "expires": expires,
                        }
                    }
                ],
                return_document=ReturnDocument.AFTER,
            )
            if not document:
                return await self._create()
        except PyMongoError as error:
            raise translated(error) from None
        self.term = int(document["term"])
        return True

    async def _create(self) -> bool:
        """The first holder ever; an existing document means that another one holds it."""
        try:
            result = await self._leases.update_one(
                {"_id": self._name, "holder": {"$exists": False}},
                [
                    {
                        "$set": {
                            "term": 1,
                            "holder": self._holder,
                            "expires": {"$add": ["$$NOW", int(self.ttl_s * 1000)]},
                        }
                    }
                ],
                upsert=True,
            )
        except DuplicateKeyError:
            return False
        self.term = 1
        return result.upserted_id is not None

    async def release(self) -> None:
        """Let go, so that another need not wait for the expiry."""
        try:
            await self._leases.update_one(
                {"_id": self._name, "holder": self._holder},
                [{"$set": {"expires": {"$subtract": ["$$NOW", 1]}}}],
            )
        except PyMongoError as error:
            raise translated(error) from None

    async def still_mine(self, session: Session | None = None) -> bool:
        """Whether no other holder came since: to be asked in the transaction that must be fenced."""
        document: dict[str, Any] | None = await self._leases.find_one({"_id": self._name}, session=session)
        return document is not None and document["holder"] == self._holder and document["term"] == self.term
