"""Real agents as processes, a tiny HTTP server in the gateway's place, and the services' right to command."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from aiohttp import web
from understudy_bus.connection import Bus
from understudy_contracts import commands as words
from understudy_contracts.joining import JoinReply, JoinRequest
from understudy_contracts.machine import Heartbeat, RestorationProgress
from understudy_contracts.model import Role, Service
from understudy_contracts.settings import (
    Camera,
    CameraSource,
    MachineConfiguration,
    ServerSettings,
    VersionedSettings,
)
from understudy_contracts.subjects import MachineAddress
from understudy_lab.cameras import ClipSettings, Login, SimulatedCameras, camera_ids
from understudy_lab.disks import SmallDisk, small_ext4, small_tmpfs
from understudy_lab.listening import listening
from understudy_recording_server.serving import serving
from understudy_runtime.grants import Grant, Signer

SITE = "site-a"
CANARY = "canary-s3cret"
WITHIN_S = 30.0
Injected = Callable[[contextlib.AbstractContextManager[Any]], contextlib.AbstractContextManager[Any]]
WHO_COMMANDS: dict[type, Service] = {
    words.Configure: Service.CONFIG_REPLICATOR,
    words.Stage: Service.CONFIG_REPLICATOR,
    words.Unstage: Service.CONFIG_REPLICATOR,
    words.FetchFootage: Service.RECORDING_SYNC,
    words.StopFetching: Service.RECORDING_SYNC,
    words.Erase: Service.API_GATEWAY,
}


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture
async def cameras(clips: Path) -> AsyncIterator[SimulatedCameras]:
    """Three cameras, one of which wants a login."""
    clip = ClipSettings(width=320, height=180, fps=25, bitrate_kbit=300, gop_s=0.4, length_s=2.0)
    login = {"cam-3": Login("viewer", CANARY)}
    async with SimulatedCameras(camera_ids(3), clip=clip, logins=login, cache_dir=clips) as running:
        yield running


@dataclass
class Agent:
    """One agent process and what is known of its machine."""

    name: str
    data_dir: Path
    address: MachineAddress
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None

    @property
    def machine(self) -> str:
        return self.address.machine

    @property
    def recorder(self) -> int | None:
        """The pid of its recorder."""
        if self.process is None:
            return None
        with contextlib.suppress(OSError):
            tasks = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
            for child in tasks.split():
                if b"understudy_recording_server.recorder" in Path("/proc", child, "cmdline").read_bytes():
                    return int(child)
        return None

    async def start(self, *arguments: str) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("UNDERSTUDY_")}
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "understudy_recording_server",
                "--data-dir",
                str(self.data_dir),
                *arguments,
                stderr=log,
                env={**environment, **self.environment},
            )

    async def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait; gives the exit status."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), WITHIN_S)

    def files(self, folder: str, pattern: str = "**/*.mp4") -> list[Path]:
        return sorted((self.data_dir / folder).glob(pattern))


class Site:
    """The host as an agent sees it, and agents that can be started and stopped."""

    def __init__(self, host: Any, folder: Path, stack: AsyncExitStack) -> None:
        self.host = host
        self.folder = folder
        self._stack = stack
        self._buses: dict[Service, Bus] = {}
        self.agents: list[Agent] = []
        self.invited: dict[str, tuple[str, Role, str | None]] = {}
        self.requests: list[JoinRequest] = []
        self.refuse_with: Callable[[], web.Response] | None = None
        self.url = ""
        self.nats_url: str = host.nats_url
        self.on_beat: Callable[[Heartbeat], object] = lambda _: None
        self.beats: dict[str, Heartbeat] = {}
        self.progress: list[RestorationProgress] = []
        self._news = asyncio.Condition()
        self._number = 0

    async def open(self) -> None:
        application = web.Application()
        application.router.add_post("/api/v1/join", self._join)
        port = await self._stack.enter_async_context(serving(application, "127.0.0.1:0"))
        self.url = f"http://127.0.0.1:{port}"
        observer = await self._stack.enter_async_context(self.host.observer_bus())
        await observer.hear(self.host.subjects.all_heartbeats, Heartbeat, self._heard)
        await observer.hear(self.host.subjects.all_reports("state"), Heartbeat, self._heard)
        await observer.hear(
            self.host.subjects.all_reports("restoration"), RestorationProgress, self._heard_progress
        )
        await observer.settled()

    async def _heard(self, _: str, beat: Heartbeat) -> None:
        async with self._news:
            self.beats[beat.machine] = beat
            self.on_beat(beat)
            self._news.notify_all()

    async def _heard_progress(self, _: str, progress: RestorationProgress) -> None:
        async with self._news:
            self.progress.append(progress)
            self._news.notify_all()

    async def until(self, true: Callable[[], bool], within_s: float = WITHIN_S) -> None:
        """Wait until something heard makes it true."""
        async with asyncio.timeout(within_s), self._news:
            await self._news.wait_for(true)

    async def beat(
        self, agent: Agent, fits: Callable[[Heartbeat], bool] = lambda _: True, within_s: float = WITHIN_S
    ) -> Heartbeat:
        """The agent's last heartbeat, once it fits."""
        await self.until(lambda: agent.machine in self.beats and fits(self.beats[agent.machine]), within_s)
        return self.beats[agent.machine]

    async def _join(self, request: web.Request) -> web.Response:
        asked = msgspec.json.decode(await request.read(), type=JoinRequest)
        self.requests.append(asked)
        if self.refuse_with is not None:
            return self.refuse_with()
        if asked.token not in self.invited:
            body = b'{"title":"refused","detail":"the token is not known here"}'
            return web.Response(status=403, body=body, content_type="application/problem+json")
        name, role, erase_token = self.invited[asked.token]
        machine = asked.machine or f"m-{name}"
        reply = JoinReply(
            machine=machine,
            server=f"s-{name}",
            server_name=name.capitalize(),
            role=role,
            site=SITE,
            nats_urls=[self.nats_url],
            user_jwt=self.host.account.machine_jwt(
                asked.public_key, MachineAddress(SITE, machine), self.host.subjects
            ),
            trust=self.trust,
            subject_prefix=self.host.subjects.prefix,
            erase_token=erase_token,
        )
        return web.Response(body=msgspec.json.encode(reply), content_type="application/json")

    @property
    def trust(self) -> dict[str, str]:
        return msgspec.json.decode((self.host.authority / "trust.json").read_bytes(), type=dict[str, str])

    def grant(self, purpose: str, machine: str, **more: Any) -> str:
        """A grant as the service signs it whose business it is."""
        signer = {
            "permit": Service.LICENSE_BROKER,
            "fetch": Service.RECORDING_SYNC,
            "erase": Service.API_GATEWAY,
            "media": Service.API_GATEWAY,
        }[purpose]
        key = Signer.from_file(str(self.host.authority / f"{signer}.key"))
        expires_at = more.pop("expires_at", 4_000_000_000_000)
        return key.sign(Grant(purpose=purpose, machine=machine, expires_at=expires_at, **more))

    def make(self, name: str, role: Role, *, erase_token: str | None = None) -> Agent:
        """An agent that is invited, and not started."""
        token = f"token-{name}-{len(self.invited)}"
        self.invited[token] = (name, role, erase_token)
        address = MachineAddress(SITE, f"m-{name}")
        environment = {"UNDERSTUDY_JOIN": self.url, "UNDERSTUDY_JOIN_TOKEN": token}
        agent = Agent(name, self.folder / name, address, self.folder / f"{name}.log", environment)
        self.agents.append(agent)
        return agent

    async def recording_server(self, name: str, cameras: SimulatedCameras, ids: list[str]) -> Agent:
        """A recording server that has joined, is configured and records these cameras."""
        agent = self.make(name, Role.RECORDING)
        await agent.start()
        await self.beat(agent)
        await self.command(agent, self.configure(agent, cameras, ids))
        return agent

    async def failover_server(self, name: str) -> Agent:
        """A failover server on standby."""
        agent = self.make(name, Role.FAILOVER)
        await agent.start()
        await self.beat(agent)
        configuration = MachineConfiguration(f"s-{name}", name, Role.FAILOVER, heartbeat_s=0.25)
        await self.command(agent, words.Configure(configuration))
        return agent

    def settings(
        self, name: str, cameras: SimulatedCameras, ids: list[str], version: int = 1, **more: Any
    ) -> VersionedSettings:
        """Settings of server `s-name` with these cameras."""
        made = [
            Camera(
                id_,
                id_.upper(),
                CameraSource(cameras.url(id_), *(("viewer", CANARY) if id_ == "cam-3" else ())),
            )
            for id_ in ids
        ]
        return VersionedSettings(
            f"s-{name}", name, version, ServerSettings(cameras=made, segment_s=2), **more
        )

    def configure(
        self, agent: Agent, cameras: SimulatedCameras, ids: list[str], version: int = 1
    ) -> words.Configure:
        configuration = MachineConfiguration(f"s-{agent.name}", agent.name, Role.RECORDING, heartbeat_s=0.25)
        return words.Configure(configuration, self.settings(agent.name, cameras, ids, version))

    async def command(self, agent: Agent, command: words.AgentCommand) -> Heartbeat:
        """Command as the service does whose command it is; gives the state in the answer."""
        service = WHO_COMMANDS.get(type(command), Service.ORCHESTRATOR)
        if service not in self._buses:
            self._buses[service] = await self._stack.enter_async_context(self.host.bus(service))
        done = await self._buses[service].command(agent.address, command, timeout_s=10)
        return done.state


@pytest.fixture
async def site(host: Any, tmp_path: Path) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        made = Site(host, tmp_path, stack)
        await made.open()
        try:
            yield made
        finally:
            for agent in made.agents:
                if agent.process is not None and agent.process.returncode is None:
                    await agent.end(signal.SIGTERM)


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest, injected: Injected) -> Iterator[Path]:
    """A file system of four megabytes, or as many as the parameter says; only root can mount it."""
    with injected(small_tmpfs(tmp_path / "small", getattr(request, "param", "4m"))) as folder:
        yield folder


@pytest.fixture
def ext4_disk(tmp_path: Path, injected: Injected) -> Iterator[SmallDisk]:
    """A file system that can be given an error, and told to have every write to it wait."""
    with injected(small_ext4(tmp_path / "ext4", tmp_path / "ext4.img")) as disk:
        yield disk


Wait = Callable[[Callable[[], bool]], Awaitable[None]]


@pytest.fixture
def wait_for() -> Wait:
    """Wait until something on disk or in a process is true."""

    async def wait(true: Callable[[], bool], within_s: float = WITHIN_S) -> None:
        async with asyncio.timeout(within_s):
            while not true():
                await asyncio.sleep(0.02)

    return wait


class Cable:
    """A TCP connection to the bus that can be pulled out."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._host, self._port = str(parts.hostname), int(parts.port or 0)
        self._plugged = AsyncExitStack()
        self.port = 0

    async def plug_in(self) -> None:
        self.port = await self._plugged.enter_async_context(listening(self._connected, self.port))

    async def pull_out(self) -> None:
        await self._plugged.aclose()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(self._host, self._port)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(_carry(reader, back))
                    group.create_task(_carry(there, writer))
            finally:
                back.transport.abort()
        except (ExceptionGroup, OSError):
            pass
        finally:
            writer.transport.abort()


async def _carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(1 << 16):
        target.write(data)
        await target.drain()
    target.transport.abort()


@pytest.fixture
async def cable(host) -> AsyncIterator[Cable]:
    made = Cable(host.nats_url)
    await made.plug_in()
    yield made
    await made.pull_out()
