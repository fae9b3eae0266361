"""The agent: carries out the host's commands, each saved before it takes effect, and tells its state."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import structlog
from understudy_contracts.commands import (
    Activate,
    AgentCommand,
    ClearFootage,
    Configure,
    Done,
    DutyCommand,
    Erase,
    FetchFootage,
    FootageCommand,
    Permit,
    Release,
    ReportState,
    Resume,
    Stage,
    StandDown,
    StopFetching,
    Unstage,
    name_of,
)
from understudy_contracts.errors import Conflict, InvalidInput, Unavailable
from understudy_contracts.machine import Authority, Heartbeat, Serving, Unassigned
from understudy_contracts.model import Role
from understudy_contracts.settings import Peer, VersionedSettings
from understudy_runtime.clock import Clock
from understudy_runtime.grants import Grant, verify_grant

from understudy_recording_server.disk.storage import StorageWatch
from understudy_recording_server.duty import DutyState, decide, duty_when_configured, serving_with
from understudy_recording_server.erasing import check_erase_token, erase
from understudy_recording_server.fences import pass_lane
from understudy_recording_server.identity import AgentFile, AgentRecord
from understudy_recording_server.joining import own_version
from understudy_recording_server.keeping.care import Care, care_for
from understudy_recording_server.keeping.keeper import FootageKeeper
from understudy_recording_server.own_thread import beside
from understudy_recording_server.peers import Alive, Peers, alive
from understudy_recording_server.restoring.clearing import clear
from understudy_recording_server.restoring.fetching import Fetcher
from understudy_recording_server.restoring.manifests import Manifests
from understudy_recording_server.settings_store import SettingsStore, check_version
from understudy_recording_server.supervising.supervisor import RecorderSupervisor
from understudy_recording_server.wanted import OWN_FOLDER, folder_of, wanted, without_recording

CLOSING_S = 4.0
"""How long a command waits for files to be closed: less than the host waits for its answer."""
IDENTITY_EVERY_S = 2.0
DEFAULT_HEARTBEAT_S = 1.0

log = structlog.get_logger()


class Agent:
    """One machine. `changed` is called after every change that the host should know at once."""

    def __init__(
        self,
        data_dir: Path,
        file: AgentFile,
        record: AgentRecord,
        *,
        settings: SettingsStore,
        recorder: RecorderSupervisor,
        storage: StorageWatch,
        keeper: FootageKeeper,
        fetcher: Fetcher,
        manifests: Manifests,
        clock: Clock,
        maximum_cameras: int,
        changed: Callable[[], None],
    ) -> None:
        self.address = ""
        self._data_dir = data_dir
        self._file = file
        self._record = record
        self._settings = settings
        self._recorder = recorder
        self._storage = storage
        self._keeper = keeper
        self._fetcher = fetcher
        self._manifests = manifests
        self._clock = clock
        self._maximum_cameras = maximum_cameras
        self._changed = changed
        self.settle: Callable[[str], Awaitable[None]] = _nothing_under_way
        """Waits until nothing is written in a folder any more, beside the recordings."""
        self._boot = uuid.uuid4().hex[:12]
        self._sequence = 0
        self.peers = Peers(self._configured_peers, lambda: self.heartbeat_s)
        # Commands that decide who records come one at a time; those on a failover's footage, one a failover.
        self._deciding = asyncio.Lock()
        self._lanes: dict[str, asyncio.Lock] = {}

    @property
    def record(self) -> AgentRecord:
        return self._record

    @property
    def heartbeat_s(self) -> float:
        configuration = self._record.configuration
        return configuration.heartbeat_s if configuration else DEFAULT_HEARTBEAT_S

    def _configured_peers(self) -> list[Peer]:
        configuration = self._record.configuration
        return configuration.peers if configuration else []

    def begin(self) -> None:
        """Go on with what the disk tells; with no restoration while everything is being erased."""
        self.take_up()
        if not self._record.erasing:
            self._fetcher.load()

    def take_up(self) -> None:
        """Do what the disk tells, without asking anyone: recording twice is harmless, dark is not."""
        sets = wanted(self._record.duty, self._settings.own, self._settings.staged)
        self._recorder.want(without_recording(sets) if self._keeper.stopped else sets)

    async def keep_identity(self) -> None:
        """Write down again who this machine is, should somebody have removed it from the disk."""
        while True:
            await asyncio.sleep(IDENTITY_EVERY_S)
            if not await beside(self._file.is_gone, "identity"):
                continue
            async with self._deciding:
                if self._record.erasing:
                    continue
                try:
                    await self._file.save(self._record)
                    await self._settings.save_again()
                except Unavailable as error:
                    log.debug("the machine's identity is not on its disk", reason=error.message)
                else:
                    log.error("the machine's identity was gone from its disk, and is there again")

    async def keep_erasing(self) -> None:
        """Bring an erasure to its end that the disk refused, until cancelled."""
        while True:
            await asyncio.sleep(IDENTITY_EVERY_S)
            await self.try_erasing()

    async def try_erasing(self) -> None:
        """Bring an erasure to its end, if one has begun and the disk lets it."""
        async with self._deciding:
            try:
                await self._finish_erasing()
            except Unavailable as error:
                log.debug("the machine is not erased yet", reason=error.message)

    def care(self) -> Care:
        """How footage is to be kept now."""
        restorations = self._fetcher.progress()
        return care_for(self._record.duty, self._settings.own, self._settings.staged, restorations)

    def alive(self) -> Alive:
        """What anyone on the site may know."""
        return alive(self._record.machine, self._recorder.evidence.cameras())

    def state(self) -> Heartbeat:
        """The whole state, as it is told the host."""
        self._sequence += 1
        record, own = self._record, self._settings.own
        configuration = record.configuration
        return Heartbeat(
            machine=record.machine,
            site=record.site,
            boot=self._boot,
            sequence=self._sequence,
            sent_at=self._clock.wall_ms(),
            version=own_version(),
            server=record.server,
            role=record.role,
            duty=record.duty,
            fence=record.fence,
            settings_version=own.version if own else 0,
            configured=configuration is not None,
            heartbeat_s=self.heartbeat_s,
            staged=self._settings.staged_versions,
            storage=self._keeper.storage(self._storage.storage),
            recorder=self._recorder.state(),
            cameras=self._recorder.evidence.cameras(),
            authority=record.authority,
            peers=self.peers.sightings(),
            restorations=self._fetcher.progress(),
            address=self.address,
            maximum_cameras=self._maximum_cameras,
            disabled=configuration.disabled if configuration else False,
            footage_bytes=self._keeper.bytes,
            footage_files=self._keeper.files,
            gaps=self._keeper.gaps,
        )

    async def carry_out(self, command: AgentCommand) -> Done:
        """Carry out a command, or raise the refusal. When this returns, the new state survives a crash."""
        match command:
            case ReportState():
                return Done(self.state())
            case FetchFootage() | StopFetching() | ClearFootage():
                async with self._lanes.setdefault(command.failover, asyncio.Lock()):
                    await self._care_for_footage(command)
            case _:
                async with self._deciding:
                    await self._decide(command)
        log.info("carried out", command=name_of(command), failover=getattr(command, "failover", None))
        self._changed()
        return Done(self.state())

    async def _decide(self, command: AgentCommand) -> None:
        await self._finish_erasing()
        match command:
            case Configure():
                await self._configure(command)
            case Stage():
                await self._stage(command.settings)
            case Unstage():
                await self._unstage(command.server)
            case Activate() | Permit() | StandDown() | Resume() | Release():
                await self._change_duty(command)
            case Erase():
                await self._erase(command.token)

    async def _configure(self, command: Configure) -> None:
        configuration, own = command.configuration, command.settings
        if own is not None and own.server != configuration.server:
            raise InvalidInput(f"settings of {own.server} cannot be those of {configuration.server}")
        duty = duty_when_configured(self._record.duty, configuration.role)
        if configuration.role is Role.FAILOVER:
            own = None
        if own is not None and not check_version(self._settings.own, own):
            own = self._settings.own
        if own is not self._settings.own and (own is not None or configuration.role is Role.FAILOVER):
            await self._settings.keep_own(own)
        await self._save(
            server=configuration.server,
            server_name=configuration.server_name,
            role=configuration.role,
            configuration=configuration,
            duty=duty,
        )
        self.take_up()

    async def _stage(self, settings: VersionedSettings) -> None:
        duty, held = self._record.duty, self._settings.staged.get(settings.server)
        serving = duty if isinstance(duty, Serving) and duty.server == settings.server else None
        if not check_version(held, settings, operated=serving is not None):
            return
        await self._settings.stage(settings)
        if serving is not None and held is not None:
            changed = serving_with(serving, held.settings, settings, self._maximum_cameras)
            await self._save(duty=changed)
            self.take_up()

    async def _unstage(self, server: str) -> None:
        duty = self._record.duty
        if isinstance(duty, Serving) and duty.server == server:
            raise Conflict(f"this machine serves for {server} in {duty.failover}: its settings are in use")
        await self._settings.unstage(server)

    async def _change_duty(self, command: DutyCommand) -> None:
        record = self._record
        before = DutyState(record.role, record.duty, record.fence, record.authority)
        permit = self._verified_permit(command) if isinstance(command, Permit) else None
        after = decide(before, command, self._settings.staged, permit)
        if after != before:
            await self._save(duty=after.duty, fence=after.fence, authority=after.authority)
        self.take_up()
        if isinstance(command, Release):
            await self._wait_stopped(folder_of(command.failover))
        elif isinstance(command, StandDown):
            await self._wait_stopped(OWN_FOLDER)

    def _verified_permit(self, command: Permit) -> Grant:
        record = self._record
        return verify_grant(
            command.token,
            record.trust.get("permit", ""),
            purpose="permit",
            machine=record.machine,
            now_ms=self._clock.wall_ms(),
        )

    async def _wait_stopped(self, folder: str) -> None:
        if not await self._recorder.wait_stopped(folder, CLOSING_S):
            log.warning("files are still being closed", folder=folder)
        await self.settle(folder)

    async def _care_for_footage(self, command: FootageCommand) -> None:
        failover = command.failover
        repeated = self._record.lanes.get(failover) == command.step
        async with self._deciding:
            await self._finish_erasing()
            lanes = pass_lane(self._record.lanes, failover, command.epoch, command.step)
            if lanes != self._record.lanes:
                await self._save(lanes=lanes)
        match command:
            case FetchFootage():
                await self._fetcher.start(command, repeated=repeated)
            case StopFetching():
                await self._fetcher.stop(failover)
            case ClearFootage():
                duty = self._record.duty
                if isinstance(duty, Serving) and duty.failover == failover:
                    raise Conflict(f"this machine still serves in {failover}")
                self._keeper.forget_folder(folder_of(failover))
                try:
                    await clear(self._data_dir, command, self._manifests)
                finally:
                    await self._keeper.rebuild()

    async def _erase(self, token: str) -> None:
        grant = check_erase_token(token, self._record, self._clock.wall_ms())
        await self._save(
            used_serials=[*self._record.used_serials, grant.serial],
            erasing=True,
            duty=Unassigned(),
            authority=Authority(),
            configuration=None,
        )
        self._recorder.want({})
        await self._wait_stopped(OWN_FOLDER)
        await self._fetcher.forget()
        await self._finish_erasing()

    async def _finish_erasing(self) -> None:
        """Erase, if that has been begun; also after a crash in the middle of it. Nothing else may be begun
        before: it would be erased as well.

        Raises:
            Unavailable: the disk said no.
        """
        if not self._record.erasing:
            return
        self._keeper.forget_folder(OWN_FOLDER)
        await asyncio.to_thread(erase, self._data_dir)
        self._settings.load()
        await self._save(erasing=False)
        await self._keeper.rebuild()
        log.warning("machine erased")

    async def _save(self, **changes: object) -> None:
        record = msgspec.structs.replace(self._record, **changes)
        if record != self._record:
            await self._file.save(record)
            self._record = record


async def _nothing_under_way(_folder: str) -> None:
    """Until there is something that writes beside the recorder."""
