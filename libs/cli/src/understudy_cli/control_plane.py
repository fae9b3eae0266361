"""The control plane on this machine: NATS, MongoDB, and the six services as supervised processes."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from understudy_bus.authority import GRANT_SIGNERS, write_authority
from understudy_contracts.errors import ConfigurationError
from understudy_contracts.model import Service
from understudy_lab.embedded import EmbeddedMongo, EmbeddedNats, FolderNotWritable
from understudy_lab.embedded.process import LOOPBACK, writable_folder

from understudy_cli.addresses import ListenAddress
from understudy_cli.embedded import Servers, kept_running
from understudy_cli.processes import ProcessPlan
from understudy_cli.readiness import wait_until_ready
from understudy_cli.supervisor import Supervisor

Say = Callable[[str], None]


@dataclass(frozen=True)
class ControlPlanePlan:
    """What to start. Without `nats_url` or `mongo_url` that server is embedded, its data in `data_dir`;
    embedded NATS listens on the address `bus_host`."""

    data_dir: Path
    listen: ListenAddress
    nats_url: str = ""
    mongo_url: str = ""
    bus_host: str = LOOPBACK


@dataclass(frozen=True)
class ControlPlane:
    """A running control plane. Its processes can be reached through `supervisor`, by service name."""

    url: str
    password_file: Path
    supervisor: Supervisor
    servers: Servers

    @property
    def password(self) -> str:
        return self.password_file.read_text(encoding="ascii").strip()


@contextlib.asynccontextmanager
async def running_control_plane(plan: ControlPlanePlan, say: Say) -> AsyncIterator[ControlPlane]:
    """Start it and wait until it is ready; everything has ended when the context is left.

    Raises:
        ConfigurationError: a service or server is missing, the port is taken, the folder cannot be written.
        ProcessFailed, Unavailable: a service did not come up.
    """
    _require_services()
    listen = plan.listen.claimed()
    data_dir = _data_folder(plan.data_dir)
    authority = data_dir / "authority"
    write_authority(authority)
    password_file = _administrator_password(authority)
    async with contextlib.AsyncExitStack() as stack:
        nats_url, mongo_url, servers = await _servers(stack, plan, data_dir, authority, say)
        await stack.enter_async_context(kept_running(servers, say))
        say("starting the six services")
        supervisor = await stack.enter_async_context(Supervisor(data_dir / "logs", say))
        for service in Service:
            environment = _environment(service, authority, nats_url, mongo_url, listen)
            await supervisor.start(ProcessPlan(str(service), ["-m", _module(service)], environment))
        await wait_until_ready(listen.url, nats_url, authority, supervisor)
        yield ControlPlane(listen.url, password_file, supervisor, servers)


async def _servers(
    stack: contextlib.AsyncExitStack, plan: ControlPlanePlan, data_dir: Path, authority: Path, say: Say
) -> tuple[str, str, Servers]:
    """The URLs of NATS and MongoDB; those that were not given are started, both at the same time, and are
    in the mapping by name."""
    starting: list[asyncio.Future[EmbeddedNats | EmbeddedMongo]] = []
    if not plan.mongo_url:
        starting.append(asyncio.ensure_future(asyncio.to_thread(EmbeddedMongo.start, data_dir / "mongo")))
    if not plan.nats_url:
        trusted = (authority / "nats-authority.conf").read_text(encoding="ascii")
        starting.append(
            asyncio.ensure_future(
                asyncio.to_thread(
                    EmbeddedNats.start, data_dir / "nats", host=plan.bus_host, extra_config=trusted
                )
            )
        )
    if starting:
        say("starting " + " and ".join(["MongoDB"] * (not plan.mongo_url) + ["NATS"] * (not plan.nats_url)))
    nats_url, mongo_url = plan.nats_url, plan.mongo_url
    servers: dict[str, EmbeddedNats | EmbeddedMongo] = {}
    gathering = asyncio.gather(*starting, return_exceptions=True)
    try:
        await asyncio.shield(gathering)
    finally:
        # A start in its thread cannot be cancelled: what it starts after Ctrl-C must be ended, too.
        started = await gathering
        for server in started:
            if isinstance(server, EmbeddedNats):
                stack.callback(server.stop)
                nats_url = server.url
                servers["NATS"] = server
            elif isinstance(server, EmbeddedMongo):
                stack.callback(server.stop)
                mongo_url = server.url
                servers["MongoDB"] = server
    for server in started:
        if isinstance(server, BaseException):
            raise server
    return nats_url, mongo_url, servers


def _environment(
    service: Service, authority: Path, nats_url: str, mongo_url: str, listen: ListenAddress
) -> dict[str, str]:
    environment = {
        "UNDERSTUDY_NATS_URL": nats_url,
        "UNDERSTUDY_NATS_CREDENTIALS": str(authority / f"{service}.creds"),
        "UNDERSTUDY_MONGO_URL": mongo_url,
    }
    if service in GRANT_SIGNERS.values():
        environment["UNDERSTUDY_SIGNING_KEY"] = str(authority / f"{service}.key")
    if service is Service.API_GATEWAY:
        environment |= {
            "UNDERSTUDY_AUTHORITY": str(authority / "account.seed"),
            "UNDERSTUDY_TRUST": str(authority / "trust.json"),
            "UNDERSTUDY_LISTEN": str(listen),
            "UNDERSTUDY_PUBLIC_NATS_URLS": nats_url,
            "UNDERSTUDY_ADMINISTRATOR_PASSWORD_FILE": str(_password_file(authority)),
        }
    return environment


def _data_folder(folder: Path) -> Path:
    try:
        return writable_folder(folder)
    except FolderNotWritable as error:
        raise ConfigurationError(error.message) from None


def _password_file(authority: Path) -> Path:
    return authority / "administrator-password"


def _administrator_password(authority: Path) -> Path:
    """The file with the administrator's first password; made up once, readable by its owner only."""
    file = _password_file(authority)
    if not file.exists():
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as writing:
                writing.write(secrets.token_urlsafe(12) + "\n")
        except OSError as error:
            raise ConfigurationError(
                f"cannot write the administrator's password to {file}: {error.strerror}"
            ) from None
    return file


def _module(service: Service) -> str:
    return f"understudy_{service.replace('-', '_')}"


def _require_services() -> None:
    for service in Service:
        if importlib.util.find_spec(_module(service)) is None:
            raise ConfigurationError(f"understudy-{service} is not installed here: run 'uv sync'")
