"""A process that is killed in the middle of a transaction must not keep others from going on."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

from understudy_store.database import Database, Session

WRITER = """
import sys, time
from pymongo import MongoClient

client = MongoClient(sys.argv[1])
with client.start_session() as session:
    session.start_transaction()
    client[sys.argv[2]]["things"].update_one({"_id": "one"}, {"$set": {"by": "killed"}}, session=session)
    print("written", flush=True)
    time.sleep(600)
"""


async def test_what_a_killed_writer_held_is_free_after_seconds(host: Any, database: Database) -> None:
    await database.raw["things"].insert_one({"_id": "one", "by": "nobody"})
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, host.mongo_url, host.database, stdout=asyncio.subprocess.PIPE
    )
    assert writer.stdout is not None
    assert await writer.stdout.readline() == b"written\n"
    writer.kill()
    await writer.wait()

    async def work(session: Session) -> None:
        await database.raw["things"].update_one({"_id": "one"}, {"$set": {"by": "us"}}, session=session)

    begun = time.monotonic()
    await database.transact(work)
    assert time.monotonic() - begun < 15
    found = await database.raw["things"].find_one({"_id": "one"})
    assert found == {"_id": "one", "by": "us"}
