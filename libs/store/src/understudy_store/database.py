"""The connection to MongoDB, and typed collections of documents.

Nothing outside this package imports motor, so that it can be replaced (facts.md, MongoDB).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

import msgspec
import structlog
from motor.motor_asyncio import (
    AsyncIOMotorClient,
    AsyncIOMotorClientSession,
    AsyncIOMotorCollection,
    AsyncIOMotorDatabase,
)
from pymongo import ASCENDING, ReplaceOne, ReturnDocument, UpdateOne
from pymongo.errors import (
    BulkWriteError,
    DuplicateKeyError,
    InvalidURI,
    OperationFailure,
    PyMongoError,
)
from pymongo.errors import (
    ConfigurationError as MongoConfigurationError,
)
from understudy_contracts.errors import ConfigurationError, Conflict, Unavailable, UnderstudyError
from understudy_runtime.configuration import ControlSettings
from understudy_runtime.retry import pauses

D = TypeVar("D", bound=msgspec.Struct)
R = TypeVar("R")

Session = AsyncIOMotorClientSession
Filter = Mapping[str, Any]

SERVER_SELECTION_MS = 5000
RETRY_TRANSACTION_S = 30.0
DUPLICATE_KEY = 11000

log = structlog.get_logger()


class Database:
    """One database of the replica set, with majority reads and journaled majority writes (promise P3)."""

    def __init__(self, client: AsyncIOMotorClient[dict[str, Any]], name: str) -> None:
        self.client = client
        self.raw: AsyncIOMotorDatabase[dict[str, Any]] = client[name]

    def documents(self, collection: str, kind: type[D], key: str) -> Documents[D]:
        """The documents of `collection` as structs of `kind`; their field `key` is the `_id`."""
        return Documents(self.raw[collection], kind, key)

    async def transact(self, work: Callable[[Session], Coroutine[Any, Any, R]]) -> R:
        """Run `work` in a transaction, again when another one came first; all of it happens or nothing.

        `work` may run several times and must do nothing but reads and writes with its session.

        Raises:
            Unavailable: MongoDB does not answer.
            Conflict: a unique index refused a document (what it guards is already taken).
        """
        try:
            async with await self.client.start_session() as session:
                return await _transacted(session, work)
        except PyMongoError as error:
            raise translated(error) from None

    async def next_number(self, counter: str, session: Session | None = None) -> int:
        """The next number of a counter, starting at 1; never the same one twice."""
        return (await self.next_numbers(counter, 1, session))[0]

    async def next_numbers(self, counter: str, count: int, session: Session | None = None) -> range:
        """The next `count` numbers of a counter, in one step."""
        document = await self.raw["counters"].find_one_and_update(
            {"_id": counter},
            {"$inc": {"value": count}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
            session=session,
        )
        return _last_numbers(int(document["value"]), count)

    async def next_numbers_of(self, counts: Mapping[str, int], session: Session) -> dict[str, range]:
        """The next numbers of many counters, so many of each, in two steps however many they are."""
        if len(counts) == 1:
            return {name: await self.next_numbers(name, count, session) for name, count in counts.items()}
        counters = self.raw["counters"]
        await counters.bulk_write(
            [
                UpdateOne({"_id": name}, {"$inc": {"value": count}}, upsert=True)
                for name, count in counts.items()
            ],
            ordered=False,
            session=session,
        )
        found = await counters.find({"_id": {"$in": list(counts)}}, session=session).to_list(length=None)
        return {
            document["_id"]: _last_numbers(int(document["value"]), counts[document["_id"]])
            for document in found
        }


def _last_numbers(last: int, count: int) -> range:
    return range(last - count + 1, last + 1)


class Documents(Generic[D]):
    """A collection whose documents are structs."""

    def __init__(self, collection: AsyncIOMotorCollection[dict[str, Any]], kind: type[D], key: str) -> None:
        self.raw = collection
        self._kind = kind
        self._key = key

    async def index(self, *keys: str, unique: bool = False, where: Filter | None = None, name: str) -> None:
        """Make sure that an index exists; with `unique` and `where` it is a mutex among those documents."""
        options: dict[str, Any] = {"partialFilterExpression": dict(where)} if where else {}
        await self.raw.create_index([(key, ASCENDING) for key in keys], unique=unique, name=name, **options)

    async def get(self, key: str, session: Session | None = None) -> D | None:
        document = await _translated(self.raw.find_one({"_id": key}, session=session))
        return None if document is None else self._load(document)

    async def find(
        self,
        where: Filter | None = None,
        *,
        order: Sequence[tuple[str, int]] = (),
        limit: int = 0,
        session: Session | None = None,
    ) -> list[D]:
        cursor = self.raw.find(dict(where or {}), session=session)
        if order:
            cursor = cursor.sort(list(order))
        if limit:
            cursor = cursor.limit(limit)
        return [self._load(document) for document in await _translated(cursor.to_list(length=None))]

    async def count(self, where: Filter | None = None, session: Session | None = None) -> int:
        return int(await _translated(self.raw.count_documents(dict(where or {}), session=session)))

    async def insert(self, document: D, session: Session | None = None) -> None:
        """Raises:
        Conflict: its key, or another that must be unique, is there already.
        """
        await _translated(self.raw.insert_one(self._dump(document), session=session))

    async def insert_all(self, documents: Sequence[D], session: Session | None = None) -> None:
        """Raises:
        Conflict: the key of one, or another that must be unique, is there already.
        """
        if documents:
            await _translated(self.raw.insert_many([self._dump(each) for each in documents], session=session))

    async def replace(
        self,
        document: D,
        session: Session | None = None,
        *,
        where: Filter | None = None,
        upsert: bool = False,
    ) -> bool:
        """Put `document` in the place of the one with its key; with `where`, only if that one matches.

        Returns whether it was written.
        """
        body = self._dump(document)
        condition = {"_id": body["_id"], **dict(where or {})}
        result = await _translated(self.raw.replace_one(condition, body, upsert=upsert, session=session))
        return bool(result.matched_count or result.upserted_id is not None)

    async def replace_all(self, documents: Sequence[D], session: Session) -> None:
        """Put each in the place of the one with its key, or beside the others if there is none."""
        bodies = [self._dump(document) for document in documents]
        if bodies:
            await _translated(
                self.raw.bulk_write(
                    [ReplaceOne({"_id": body["_id"]}, body, upsert=True) for body in bodies],
                    ordered=False,
                    session=session,
                )
            )

    async def touch_all(self, field: str, values: Mapping[str, object]) -> None:
        """Set one field of many documents, told by their keys, as far as they are there."""
        if values:
            await _translated(
                self.raw.bulk_write(
                    [UpdateOne({"_id": key}, {"$set": {field: value}}) for key, value in values.items()],
                    ordered=False,
                )
            )

    async def delete(self, key: str, session: Session | None = None) -> bool:
        result = await _translated(self.raw.delete_one({"_id": key}, session=session))
        return bool(result.deleted_count)

    def _dump(self, document: D) -> dict[str, Any]:
        body: dict[str, Any] = msgspec.to_builtins(document)
        body["_id"] = body.pop(self._key)
        return body

    def _load(self, document: dict[str, Any]) -> D:
        body = dict(document)
        body[self._key] = body.pop("_id")
        return msgspec.convert(body, type=self._kind)


async def _transacted(session: Session, work: Callable[[Session], Coroutine[Any, Any, R]]) -> R:
    """The driver's own `with_transaction` commits outside of the part that it repeats (motor 3.7), so that
    a conflict found by the commit would reach the caller; here it is done again like any other."""
    until = time.monotonic() + RETRY_TRANSACTION_S
    for pause in pauses(first=0.002, most=0.1):
        session.start_transaction()
        try:
            try:
                result = await work(session)
            except PyMongoError:
                await session.abort_transaction()
                raise
            await _commit(session, until)
        except PyMongoError as error:
            if not error.has_error_label("TransientTransactionError") or time.monotonic() > until:
                raise
        else:
            return result
        await asyncio.sleep(pause)
    raise AssertionError("pauses never end")


async def _commit(session: Session, until: float) -> None:
    """Commit, again while it is unknown whether it was done; committing twice does it once."""
    for pause in pauses(first=0.01):
        try:
            await session.commit_transaction()
        except PyMongoError as error:
            if not error.has_error_label("UnknownTransactionCommitResult") or time.monotonic() > until:
                raise
        else:
            return
        await asyncio.sleep(pause)


async def _translated(work: Awaitable[R]) -> R:
    """Foreign errors become ours here, at the edge. Inside of a transaction the driver must see its own
    transient ones to try again: they carry a label and pass."""
    try:
        return await work
    except PyMongoError as error:
        if error.has_error_label("TransientTransactionError"):
            raise
        raise translated(error) from None


def translated(error: PyMongoError) -> UnderstudyError:
    """Our error for one of the driver's: Conflict for a key that is taken, else Unavailable."""
    if isinstance(error, DuplicateKeyError):
        return Conflict(f"already taken: {_taken(error)}", key=_taken(error))
    if isinstance(error, BulkWriteError):
        refused = (error.details or {}).get("writeErrors", [])
        if refused and refused[0].get("code") == DUPLICATE_KEY:
            return Conflict(f"already taken: {_pairs(refused[0])}", key=_pairs(refused[0]))
    return Unavailable(f"MongoDB does not answer: {str(error)[:300]}")


def _taken(error: DuplicateKeyError) -> str:
    return _pairs(error.details or {})


def _pairs(details: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in dict(details.get("keyValue", {})).items())


@asynccontextmanager
async def connect_database(settings: ControlSettings) -> AsyncIterator[Database]:
    """Connect, waiting for a server that is not up yet.

    Raises:
        ConfigurationError: the URL is no MongoDB URL, access is refused, or it is no replica set.
    """
    try:
        client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
            settings.mongo_url,
            w="majority",
            journal=True,
            readConcernLevel="majority",
            retryWrites=True,
            serverSelectionTimeoutMS=SERVER_SELECTION_MS,
            appname="understudy",
        )
    except (InvalidURI, MongoConfigurationError, ValueError) as error:
        raise ConfigurationError(f"UNDERSTUDY_MONGO_URL is not usable: {error}") from None
    try:
        await _wait_until_there(client)
        yield Database(client, settings.database)
    finally:
        client.close()


async def _wait_until_there(client: AsyncIOMotorClient[dict[str, Any]]) -> None:
    for pause in pauses():
        try:
            hello = await client.admin.command("hello")
        except OperationFailure as error:
            raise ConfigurationError(f"MongoDB refuses us: {error.details or error}") from None
        except PyMongoError as error:
            log.info("waiting for MongoDB", error=str(error)[:200])
        else:
            if "setName" not in hello:
                raise ConfigurationError("MongoDB must run as a replica set (transactions need one)")
            return
        await asyncio.sleep(pause)
