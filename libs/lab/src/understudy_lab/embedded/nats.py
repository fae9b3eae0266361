"""An embedded NATS server with JetStream."""

from __future__ import annotations

import contextlib
import json
import socket
from pathlib import Path
from typing import Self

from understudy_lab.embedded.binaries import find_nats_server
from understudy_lab.embedded.process import (
    LOOPBACK,
    LeashedProcess,
    launch_on_free_port,
    require_free_port,
    writable_folder,
)

MAX_PAYLOAD_BYTES = 8 * 1024 * 1024
_READY_WITHIN_S = 20.0


class EmbeddedNats:
    """A `nats-server`, on loopback unless told otherwise, with its data in a folder of its own.

    It may be started from any thread. It ends with this process, however this process ends.
    """

    def __init__(self, data_dir: Path, extra_config: str, monitor: bool, host: str) -> None:
        self.data_dir = data_dir
        self.log = data_dir / "nats-server.log"
        self.host = host
        self.port = 0
        self.monitor_url: str | None = None
        self._extra_config = extra_config
        self._monitor_port = -1 if monitor else 0
        self._process: LeashedProcess | None = None

    @classmethod
    def start(
        cls,
        data_dir: Path,
        *,
        host: str = LOOPBACK,
        port: int = 0,
        extra_config: str = "",
        monitor: bool = False,
    ) -> EmbeddedNats:
        """Start the server and wait until it accepts clients.

        `host` is the address to listen on; `port` 0 takes any free one. `extra_config` is put at the end of
        the configuration file as it stands: accounts, operator, resolver, leaf nodes. `monitor` opens the
        HTTP monitoring port (any free one).
        Raises ServerMissing, PortInUse, FolderNotWritable, FolderInUse, ServerDidNotStart.
        """
        server = cls(writable_folder(data_dir), extra_config, monitor, host)
        if port:
            server._launch(port)
        else:
            launch_on_free_port(server._launch)
        return server

    @property
    def url(self) -> str:
        return f"nats://{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        """The process id of `nats-server` itself."""
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

    def restart(self, *, extra_config: str | None = None) -> None:
        """End the server if it runs, and start it again with the same port and data.

        Raises what `start` raises.
        """
        self.stop()
        if extra_config is not None:
            self._extra_config = extra_config
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
        program = find_nats_server()
        require_free_port("nats-server", port)
        config = self.data_dir / "nats-server.conf"
        config.write_text(self._config(port))
        config.chmod(0o600)  # the extra text may name credentials
        for stale in self.data_dir.glob("*.ports"):
            stale.unlink()
        command = [str(program), "-c", str(config), "--ports_file_dir", str(self.data_dir)]
        process = LeashedProcess.start("nats-server", command, self.data_dir, self.log)
        self._process = process
        ports_file = self.data_dir / f"{program.name}_{process.pid}.ports"
        monitor_port = process.wait_until(lambda: _read_monitor_port(ports_file), _READY_WITHIN_S)
        if monitor_port:
            self._monitor_port = monitor_port
            self.monitor_url = f"http://{LOOPBACK}:{monitor_port}"
        process.wait_until(lambda: _greets(self.host, port), _READY_WITHIN_S)
        self.port = port

    def _config(self, port: int) -> str:
        store = json.dumps(str(self.data_dir / "jetstream"))
        lines = [
            "server_name: understudy",
            f"listen: {json.dumps(f'{self.host}:{port}')}",
            f"max_payload: {MAX_PAYLOAD_BYTES}",
            # JetStream acknowledges before fsync by default; promise P3 needs the disk to have it.
            f"jetstream {{ store_dir: {store}, sync_interval: always }}",
        ]
        if self._monitor_port:
            lines.append(f"http: {json.dumps(f'{LOOPBACK}:{self._monitor_port}')}")
        return "\n".join([*lines, self._extra_config, ""])


def _read_monitor_port(file: Path) -> int | None:
    """The monitoring port (0 for none) as the server wrote it; None while the file is not there or half."""
    try:
        ports = json.loads(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    monitoring = ports.get("monitoring") or [":0"]
    return int(monitoring[0].rpartition(":")[2])


def _greets(host: str, port: int) -> bool | None:
    """True when the server sends its greeting; it does so only when it is ready for clients."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1) as connection:
        if connection.recv(5) == b"INFO ":
            return True
    return None
