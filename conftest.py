"""Real servers for the tests: one nats-server and one mongod a session, and for each test a prefix of
subjects, a database and credentials of its own. Whole runs are shared out among several sessions."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pytest
from understudy_bus.authority import (
    GRANT_SIGNERS,
    AccountSigner,
    KeyPair,
    credentials_text,
    write_authority,
    write_credentials,
)
from understudy_bus.connection import Bus, connect_bus
from understudy_bus.events import ensure_stream
from understudy_bus.permissions import OBSERVER, observer_permissions, service_permissions
from understudy_contracts.model import Service
from understudy_contracts.subjects import MachineAddress, Subjects
from understudy_lab.embedded import EmbeddedMongo, EmbeddedNats
from understudy_lab.faults import CannotInject, program
from understudy_runtime.configuration import BusSettings, ControlSettings
from understudy_store.database import Database, connect_database
from xdist.scheduler import LoadScopeScheduling

_numbers = itertools.count(1)
T = TypeVar("T")

SESSIONS = 4
"""Tests at a time in a run of whole folders: they wait for real processes more than they compute."""
WHOLE_PRODUCT = ("tests/e2e/", "tests/faults/")

# The tests start hundreds of processes: each would compile all of its modules anew, a second or two of a
# core, where the environment keeps Python from writing bytecode (images of containers often do).
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Whole folders are shared out; who names a file or a test, or wants to see its output, gets it here."""
    picked = config.option.keyword or config.option.capture == "no"
    return 0 if picked or not all(Path(each).is_dir() for each in config.args) else SESSIONS


class _Sharing(LoadScopeScheduling):
    """Test by test; but a folder of tests that each run the whole product, a machine's load by itself, one
    after another. These begin first, for they are the most. (Groups by mark do not work: xdist 3.8 does not
    get them into the ids of pytest 9.2.)"""

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in WHOLE_PRODUCT if nodeid.startswith(folder)), nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Ours, unless `--dist` asks for another."""
    return _Sharing(config, log) if config.option.dist == "load" else None


@pytest.fixture(scope="session")
def require_tool(cannot: Callable[[str], NoReturn]) -> Callable[[str, str], str]:
    """`require_tool(program, package)` is the program's path. Without it the test skips and names Debian's
    package; where tools are required (CI), it fails."""

    def require(name: str, package: str) -> str:
        try:
            return program(name, package)
        except CannotInject as error:
            cannot(error.message)

    return require


@pytest.fixture(scope="session")
def cannot() -> Callable[[str], NoReturn]:
    """`cannot(why)` skips the test; where everything is required (CI), it fails."""

    def give_up(why: str) -> NoReturn:
        if os.environ.get("UNDERSTUDY_REQUIRE_TOOLS") == "1":
            pytest.fail(why)
        pytest.skip(why)

    return give_up


@pytest.fixture(scope="session")
def injected(cannot: Callable[[str], NoReturn]) -> Callable[..., AbstractContextManager[Any]]:
    """`injected(small_tmpfs(...))` is that fault of the lab; the test skips where it cannot be had."""

    @contextlib.contextmanager
    def having(fault: AbstractContextManager[T]) -> Iterator[T]:
        with contextlib.ExitStack() as stack:
            try:
                had = stack.enter_context(fault)
            except CannotInject as error:
                cannot(error.message)
            yield had

    return having


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The keys of the session's bus."""
    folder = tmp_path_factory.mktemp("authority")
    write_authority(folder)
    return folder


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory, authority: Path) -> Iterator[EmbeddedNats]:
    extra = (authority / "nats-authority.conf").read_text()
    with EmbeddedNats.start(tmp_path_factory.mktemp("nats"), extra_config=extra) as server:
        yield server


@pytest.fixture(scope="session")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedMongo]:
    with EmbeddedMongo.start(tmp_path_factory.mktemp("mongo")) as server:
        yield server


@dataclass(frozen=True)
class Host:
    """One test's host: settings for each of its processes."""

    subjects: Subjects
    database: str
    folder: Path
    authority: Path
    nats_url: str
    mongo_url: str

    @property
    def account(self) -> AccountSigner:
        return AccountSigner.from_file(str(self.authority / "account.seed"))

    def settings(self, service: Service) -> ControlSettings:
        credentials = self.folder / f"{service}.creds"
        if not credentials.exists():
            permissions = service_permissions(service, self.subjects)
            write_credentials(credentials, self.account, str(service), permissions)
        return ControlSettings(
            nats_url=self.nats_url,
            nats_credentials=str(credentials),
            subject_prefix=self.subjects.prefix,
            mongo_url=self.mongo_url,
            database=self.database,
            signing_key=str(self.authority / f"{service}.key") if service in GRANT_SIGNERS.values() else "",
        )

    def machine_settings(self, address: MachineAddress) -> BusSettings:
        credentials = self.folder / f"{address.machine}.creds"
        user = KeyPair.generate_user()
        jwt = self.account.machine_jwt(user.public, address, self.subjects)
        credentials.write_text(credentials_text(jwt, user.seed))
        return self._bus_settings(credentials)

    def observer_settings(self) -> BusSettings:
        credentials = self.folder / "observer.creds"
        write_credentials(credentials, self.account, OBSERVER, observer_permissions(self.subjects))
        return self._bus_settings(credentials)

    def _bus_settings(self, credentials: Path) -> BusSettings:
        return BusSettings(
            nats_url=self.nats_url,
            nats_credentials=str(credentials),
            subject_prefix=self.subjects.prefix,
        )

    def bus(self, service: Service) -> AbstractAsyncContextManager[Bus]:
        return connect_bus(self.settings(service), str(service))

    def machine_bus(self, address: MachineAddress) -> AbstractAsyncContextManager[Bus]:
        return connect_bus(self.machine_settings(address), address.machine)

    def observer_bus(self) -> AbstractAsyncContextManager[Bus]:
        return connect_bus(self.observer_settings(), OBSERVER)


@pytest.fixture
async def host(nats_server: EmbeddedNats, mongod: EmbeddedMongo, authority: Path, tmp_path: Path) -> Host:
    number = next(_numbers)
    folder = tmp_path / "host"
    folder.mkdir()
    made = Host(
        subjects=Subjects(f"t{number}"),
        database=f"test-{number}",
        folder=folder,
        authority=authority,
        nats_url=nats_server.url,
        mongo_url=mongod.url,
    )
    async with made.bus(Service.API_GATEWAY) as bus:
        await ensure_stream(bus)
    return made


@pytest.fixture
async def database(host: Host) -> AsyncIterator[Database]:
    async with connect_database(host.settings(Service.ORCHESTRATOR)) as connected:
        yield connected
        await connected.client.drop_database(host.database)
