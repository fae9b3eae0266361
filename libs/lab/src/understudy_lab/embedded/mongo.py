"""An embedded MongoDB: a replica set of one member, because transactions need a replica set."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from understudy_lab.embedded.binaries import find_mongod
from understudy_lab.embedded.process import (
    LOOPBACK,
    LeashedProcess,
    last_log_line,
    launch_on_free_port,
    log_lines_backwards,
    require_free_port,
    writable_folder,
)

REPLICA_SET = "rs0"
TRANSACTION_LIFETIME_S = 5
"""The transaction of a process that was killed holds its documents this long, up to half as much again: no
other writer gets at them meanwhile. mongod's own default is a minute; ours take milliseconds."""
_READY_WITHIN_S = 30.0
_NOT_YET_INITIALIZED = 94


class EmbeddedMongo:
    """A `mongod` on loopback, primary of its own replica set, with its data in a folder of its own.

    It may be started from any thread. It ends with this process, however this process ends.
    """

    def __init__(self, data_dir: Path, cache_mb: int) -> None:
        self.data_dir = data_dir
        self.log = data_dir / "mongod.log"
        self.port = 0
        self._cache_mb = cache_mb
        self._process: LeashedProcess | None = None

    @classmethod
    def start(cls, data_dir: Path, *, port: int = 0, cache_mb: int = 256) -> EmbeddedMongo:
        """Start the server and wait until it is primary.

        `port` 0 takes any free one. `cache_mb` bounds the storage engine's cache (mongod's own default is
        half of the machine's memory).
        Raises ServerMissing, PortInUse, FolderNotWritable, FolderInUse, ServerDidNotStart.
        """
        server = cls(writable_folder(data_dir), cache_mb)
        if port:
            server._launch(port)
        else:
            # mongod cannot tell a port that it chose itself, so one is chosen for it.
            launch_on_free_port(server._launch)
        return server

    @property
    def url(self) -> str:
        return f"mongodb://{LOOPBACK}:{self.port}/?replicaSet={REPLICA_SET}"

    @property
    def pid(self) -> int:
        """The process id of `mongod` itself."""
        return self._running.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """End it by kill -9, as a crash would."""
        self._running.kill()

    def restart(self) -> None:
        """End the server if it runs, and start it again with the same port and data.

        Raises what `start` raises.
        """
        self.stop()
        self._launch(self.port)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def _running(self) -> LeashedProcess:
        if self._process is None:
            raise RuntimeError("the server has not been started")
        return self._process

    def _launch(self, port: int) -> None:
        program = find_mongod()
        require_free_port("mongod", port)
        database = writable_folder(self.data_dir / "db")
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".previous.log"))
        command = [
            str(program),
            *("--dbpath", str(database), "--replSet", REPLICA_SET),
            # Its own log file: what it prints is buffered, and lost when it aborts.
            *("--logpath", str(self.log), "--logappend"),
            *("--bind_ip", LOOPBACK, "--port", str(port), "--nounixsocket"),
            *("--wiredTigerCacheSizeGB", str(self._cache_mb / 1024), "--oplogSize", "256"),
            # A set of one has nobody to hand over to: do not wait 15 s for a successor at the end.
            *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"),
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
            *("--setParameter", f"transactionLifetimeLimitSeconds={TRANSACTION_LIFETIME_S}"),
        ]
        process = LeashedProcess.start("mongod", command, self.data_dir, self.log, _last_complaint)
        self._process = process
        process.wait_until(lambda: _initiated(port), _READY_WITHIN_S)
        process.wait_until(lambda: _is_primary(port), _READY_WITHIN_S)
        self.port = port


@contextlib.contextmanager
def _client(port: int) -> Iterator[MongoClient[dict[str, Any]]]:
    client: MongoClient[dict[str, Any]] = MongoClient(
        LOOPBACK,
        port,
        directConnection=True,
        serverSelectionTimeoutMS=200,
        connectTimeoutMS=1000,
        socketTimeoutMS=10_000,
    )
    try:
        yield client
    finally:
        client.close()


def _initiated(port: int) -> bool | None:
    """True once the replica set is configured for this port; does so if it is not."""
    member = f"{LOOPBACK}:{port}"
    with contextlib.suppress(PyMongoError), _client(port) as client:
        try:
            config = client.admin.command("replSetGetConfig")["config"]
        except OperationFailure as error:
            if error.code != _NOT_YET_INITIALIZED:
                raise
            wanted = {"_id": REPLICA_SET, "members": [{"_id": 0, "host": member}]}
            client.admin.command("replSetInitiate", wanted)
            return True
        if config["members"][0]["host"] != member:
            # The data was made under another port: the member would not find itself in its own set.
            config["members"][0]["host"] = member
            config["version"] += 1
            client.admin.command("replSetReconfig", config, force=True)
        return True
    return None


def _is_primary(port: int) -> bool | None:
    """Asked through a new client each time: one from before replSetInitiate does not see sessions."""
    with contextlib.suppress(PyMongoError), _client(port) as client:
        if client.admin.command("hello").get("isWritablePrimary"):
            return True
    return None


def _last_complaint(log: Path) -> str:
    """The first fatal message in mongod's log, else the first error: what comes later follows from it."""
    complaints: dict[str, str] = {}
    for line in log_lines_backwards(log):
        try:
            entry = json.loads(line)
            complaints[entry["s"]] = f"{entry['msg']} {json.dumps(entry.get('attr', {}))}"
        except (ValueError, TypeError, KeyError):
            continue  # a cut-off line, or one from before the log is set up
    return complaints.get("F") or complaints.get("E") or last_log_line(log)
