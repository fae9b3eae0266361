"""Who this machine is, what it has been told last, and what it must never forget: agent.json."""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path

import msgspec
from understudy_bus.authority import credentials_text
from understudy_contracts.errors import ConfigurationError, Unavailable
from understudy_contracts.ids import Id
from understudy_contracts.machine import Authority, Duty, Fence, Unassigned
from understudy_contracts.model import Role
from understudy_contracts.settings import MachineConfiguration
from understudy_contracts.subjects import MachineAddress
from understudy_runtime.configuration import BusSettings

from understudy_recording_server.private_files import (
    PRIVATE_FOLDER,
    CannotRead,
    read_twice,
    write_private,
    write_twice,
)

AGENT_FILE = "agent.json"
CREDENTIALS_FILE = "agent.creds"
LOCK_FILE = "agent.lock"


class AgentRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The content of agent.json.

    `seed` and `user_jwt` are the machine's credential; `trust` maps a purpose to the host's key for it;
    `joined_with` tells one invitation from another without keeping the token. `fence` is the highest
    (epoch, step) of duty commands, `lanes` the highest step of footage commands of each failover; both
    survive erasing (promise P2). `erasing` says that an erasure has begun and must be brought to its end.
    """

    machine: Id
    site: Id
    server: Id
    server_name: str
    role: Role
    seed: str
    user_jwt: str
    nats_urls: list[str]
    subject_prefix: str = "understudy"
    trust: dict[str, str] = {}
    joined_with: str = ""
    fence: Fence = Fence()
    lanes: dict[str, int] = {}
    duty: Duty = Unassigned()
    authority: Authority = Authority()
    configuration: MachineConfiguration | None = None
    used_serials: list[str] = []
    erasing: bool = False

    def __repr__(self) -> str:
        return f"AgentRecord(machine={self.machine!r}, server={self.server!r}, duty={self.duty!r})"

    @property
    def address(self) -> MachineAddress:
        return MachineAddress(self.site, self.machine)


def claim(data_dir: str) -> Path:
    """The data folder, created if need be, and held by this process until it ends.

    Raises:
        ConfigurationError: none is given, it cannot be created, or another agent has it.
    """
    if not data_dir:
        raise ConfigurationError("no data folder: give --data-dir or set UNDERSTUDY_DATA_DIR")
    folder = Path(data_dir).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
        # Kept open on purpose: the lock lives as long as the process.
        # Read-only, so that the disk can be mounted read-only, to mend it, while we wait.
        lock = os.open(folder / LOCK_FILE, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except (OSError, ValueError) as error:
        raise _unwritable(folder, error) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise ConfigurationError(f"another agent uses the data folder {folder}") from None
    return folder


def check_writable(folder: Path) -> None:
    """Before a machine joins: one that has joined already shows its cameras from a sick disk too.

    Raises:
        ConfigurationError: the data folder cannot be written.
    """
    try:
        write_private(folder / ".writable", b"")
        (folder / ".writable").unlink()
    except OSError as error:
        raise _unwritable(folder, error) from None


def _unwritable(folder: Path, error: Exception) -> ConfigurationError:
    reason = getattr(error, "strerror", None) or error
    return ConfigurationError(
        f"cannot write to the data folder {folder}: {reason}; choose another with --data-dir"
    )


class AgentFile:
    """agent.json in a data folder."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / AGENT_FILE
        self._credentials = data_dir / CREDENTIALS_FILE

    def load(self) -> AgentRecord | None:
        """What was saved last; None when this machine has never joined.

        Raises:
            ConfigurationError: it cannot be read or is damaged, and so is its copy.
        """
        try:
            return read_twice(self.path, AgentRecord)
        except CannotRead as error:
            raise ConfigurationError(
                f"{error}; restore it from a backup, or move it away and join again"
            ) from None

    def is_gone(self) -> bool:
        """Whether somebody has removed it; no while that cannot be told. For a thread: the disk may hang."""
        try:
            self.path.stat()
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return False

    async def save(self, record: AgentRecord) -> None:
        """Replace agent.json; when this returns, the record survives a power cut.

        Raises:
            Unavailable: the disk said no; what was saved before still holds.
        """
        content = msgspec.json.format(msgspec.json.encode(record), indent=2)
        try:
            await asyncio.to_thread(self._write, content)
        except OSError as error:
            raise Unavailable(f"the machine cannot save its state: {error.strerror}") from None

    def _write(self, content: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
        write_twice(self.path, content)

    def bus_settings(self, record: AgentRecord) -> BusSettings:
        """How to use the bus as this machine; the credential is written to where the client reads it, unless
        it is there: the disk may be read-only now.

        Raises:
            ConfigurationError: it cannot be written.
        """
        settings = BusSettings(nats_url=",".join(record.nats_urls), subject_prefix=record.subject_prefix)
        if not record.user_jwt:
            return settings  # A host whose bus asks for none, on loopback only.
        content = credentials_text(record.user_jwt, record.seed).encode("ascii")
        try:
            if not self._has_credentials(content):
                write_private(self._credentials, content)
        except OSError as error:
            raise ConfigurationError(f"cannot write {self._credentials}: {error.strerror}") from None
        return msgspec.structs.replace(settings, nats_credentials=str(self._credentials))

    def _has_credentials(self, content: bytes) -> bool:
        try:
            return self._credentials.read_bytes() == content
        except OSError:
            return False
