"""Heads, versions and copies: every change is one transaction with the event that tells of it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import msgspec
from understudy_contracts.errors import Conflict, InvalidInput, NotFound, StaleEpoch
from understudy_contracts.events import SettingsChanged
from understudy_contracts.ids import epoch_of
from understudy_contracts.model import Role
from understudy_contracts.servers import Server
from understudy_contracts.settings import ServerSettings, VersionedSettings
from understudy_contracts.verbs import SettingsVersion
from understudy_runtime.clock import Clock
from understudy_store import collections
from understudy_store.database import Database, Session
from understudy_store.outbox import Outbox

from understudy_config_replicator.documents import CameraId, Copy, Head, Version, version_id
from understudy_config_replicator.edits import (
    Edit,
    by_id,
    camera_id_changes,
    camera_ids,
    check_settings,
    given_up,
)

R = TypeVar("R")

NO_SETTINGS: Final = ServerSettings()


class SettingsStore:
    """The settings of all servers, with all versions."""

    def __init__(self, database: Database, outbox: Outbox, clock: Clock) -> None:
        self._database = database
        self._outbox = outbox
        self._clock = clock
        self._servers = collections.servers(database)
        self._heads = database.documents("settings-heads", Head, "server")
        self._copies = database.documents("settings-copies", Copy, "failover")
        self._versions = database.documents("settings-versions", Version, "id")
        self._camera_ids = database.documents("camera-ids", CameraId, "id")

    async def prepare(self) -> None:
        """Indexes."""
        await self._versions.index("server", "version", unique=True, name="versions-of-a-server")
        await self._copies.index("open", name="open-copies")
        await self._camera_ids.index("server", name="camera-ids-of-a-server")

    # --- reading ----------------------------------------------------------------------------------------

    async def read(self, server: str, *, original: bool, version: int | None) -> VersionedSettings:
        """The settings in force, the original's, or those of one version.

        Raises:
            NotFound: no such server or version.
            InvalidInput: a failover server, which has none.
        """
        if version is not None:
            return await self._read_version(server, version)
        found = await self._recording_server(server)
        head = await self._head(server)
        copy = await self._copies.get(head.copy) if head.copy and not original else None
        if copy is not None and copy.open:
            content = await self._content(server, copy.version)
            return VersionedSettings(server, found.name, copy.version, content, copy.failover)
        return VersionedSettings(server, found.name, head.version, await self._content(server, head.version))

    async def _read_version(self, server: str, version: int) -> VersionedSettings:
        record = await self._versions.get(version_id(server, version))
        if record is None:
            raise NotFound(f"server {server} has no settings of version {version}")
        found = await self._servers.get(server)
        name = found.name if found else server
        return VersionedSettings(server, name, version, record.content, record.failover)

    async def versions(self, server: str) -> list[SettingsVersion]:
        """All versions of a server's settings, oldest first."""
        records = await self._versions.find({"server": server}, order=[("version", 1)])
        return [SettingsVersion(each.version, each.written_at, each.by, each.failover) for each in records]

    async def heads(self) -> list[Head]:
        """Every server that has settings and was not forgotten."""
        return await self._heads.find({"forgotten": {"$ne": True}})

    async def open_copies(self) -> list[Copy]:
        return await self._copies.find({"open": {"$ne": False}})

    async def contents(self, wanted: list[tuple[str, int]]) -> dict[tuple[str, int], ServerSettings]:
        """The settings of these versions of servers."""
        ids = [version_id(server, version) for server, version in wanted]
        records = await self._versions.find({"_id": {"$in": ids}})
        return {(record.server, record.version): record.content for record in records}

    # --- changing ---------------------------------------------------------------------------------------

    async def write(
        self, server: str, edit: Edit, by: str, *, expected_version: int | None = None
    ) -> VersionedSettings:
        """Edit the settings in force: during a failover its copy, else the original (M14).

        An edit that changes nothing gives no new version, so that the same request twice is done once.

        Raises:
            NotFound, InvalidInput: no such recording server, or settings that make no sense.
            Conflict: not the expected version any more, or a camera id that is taken.
        """

        async def work(session: Session) -> VersionedSettings:
            found = await self._recording_server(server, session)
            head = await self._head(server, session)
            copy = await self._copies.get(head.copy, session) if head.copy else None
            current = copy.version if copy else head.version
            failover = copy.failover if copy else None
            before = await self._content(server, current, session)
            after = edit(before)
            if after == before:
                return VersionedSettings(server, found.name, current, before, failover)
            if expected_version is not None and expected_version != current:
                raise Conflict(
                    f"the settings of {server} are at version {current}, not {expected_version}: read again",
                    version=current,
                )
            check_settings(after)
            original = await self._content(server, head.version, session) if copy else None
            await self._change_camera_ids(session, server, before, after, original)
            version = await self._append_version(session, head, after, by, failover)
            if copy:
                await self._put_head(session, head, highest=version)
                await self._copies.replace(msgspec.structs.replace(copy, version=version), session)
            else:
                await self._put_head(session, head, version=version, highest=version, forgotten=False)
            await self._tell(session, "changed", SettingsChanged(server, version, by, failover))
            return VersionedSettings(server, found.name, version, after, failover)

        return await self._transact(work)

    async def owned_before(self, server: str, camera: str) -> bool:
        """Whether this camera is or once was this server's."""
        known = await self._camera_ids.get(camera)
        return known is not None and known.server == server

    async def forget(self, server: str, by: str) -> None:
        """The server is deleted: its versions stay, its camera ids are retired, its copy ends."""

        async def work(session: Session) -> None:
            head = await self._heads.get(server, session)
            if head is None or head.forgotten:
                return
            copy = await self._copies.get(head.copy, session) if head.copy else None
            if copy:
                await self._copies.replace(msgspec.structs.replace(copy, open=False), session)
            await self._put_head(session, head, copy=None, forgotten=True)
            for each in await self._camera_ids.find({"server": server}, session=session):
                await self._camera_ids.replace(msgspec.structs.replace(each, retired=True), session)
            await self._tell(session, "forgotten", SettingsChanged(server, head.version, by))

        await self._transact(work)

    # --- copies for failovers ---------------------------------------------------------------------------

    async def open_copy(self, failover: str, server: str, machine: str) -> VersionedSettings:
        """Begin `failover`'s copy of `server`'s settings, operated on `machine`; open already, it is handed
        on to that machine. The copy of an earlier failover of this server ends.

        Raises:
            NotFound, InvalidInput: no such recording server.
            Conflict: this failover's copy was closed, or is another server's.
            StaleEpoch: a later failover's copy is open.
        """

        async def work(session: Session) -> VersionedSettings:
            found = await self._recording_server(server, session)
            copy = await self._copies.get(failover, session)
            if copy and (not copy.open or copy.server != server):
                raise Conflict(f"the copy of {failover} was for {copy.server}, or is closed already")
            if copy and copy.machine == machine:
                content = await self._content(server, copy.version, session)
                return VersionedSettings(server, found.name, copy.version, content, failover)
            head = await self._head(server, session)
            if copy:
                copy = msgspec.structs.replace(copy, machine=machine)
            else:
                head = await self._end_copy_before(session, head, failover)
                copy = Copy(failover, server, machine, head.version)
            await self._put_head(session, head, copy=failover)
            await self._copies.replace(copy, session, upsert=True)
            told = SettingsChanged(server, copy.version, failover=failover, machine=machine)
            await self._tell(session, "copy-opened", told)
            content = await self._content(server, copy.version, session)
            return VersionedSettings(server, found.name, copy.version, content, failover)

        return await self._transact(work)

    async def close_copy(self, failover: str) -> None:
        """End the copy, and with it the edits made in it (M14, M19); closed or never opened, it stays so."""

        async def work(session: Session) -> None:
            copy = await self._copies.get(failover, session)
            if copy is not None and copy.open:
                await self._end_copy(session, await self._head(copy.server, session), copy)

        await self._transact(work)

    async def _end_copy_before(self, session: Session, head: Head, failover: str) -> Head:
        if head.copy is None:
            return head
        if epoch_of(head.copy) > epoch_of(failover):
            raise StaleEpoch(f"{head.copy} operates the settings of {head.server}, later than {failover}")
        earlier = await self._copies.get(head.copy, session)
        return await self._end_copy(session, head, earlier) if earlier else head

    async def _end_copy(self, session: Session, head: Head, copy: Copy) -> Head:
        """Close `copy`. Had it been edited, the original is written again above it, unchanged: a machine
        that holds the edited version takes only a higher one."""
        await self._copies.replace(msgspec.structs.replace(copy, open=False), session)
        version = head.version
        if copy.version != head.version:
            original = await self._content(head.server, head.version, session)
            edited = await self._content(head.server, copy.version, session)
            await self._retire(session, head.server, given_up(edited, original))
            version = await self._append_version(session, head, original, f"the end of {copy.failover}", None)
        head = await self._put_head(
            session, head, version=version, highest=max(head.highest, version), copy=None
        )
        told = SettingsChanged(head.server, version, failover=copy.failover, machine=copy.machine)
        await self._tell(session, "copy-closed", told)
        return head

    # --- parts ------------------------------------------------------------------------------------------

    async def _recording_server(self, server: str, session: Session | None = None) -> Server:
        found = await self._servers.get(server, session)
        if found is None:
            raise NotFound(f"there is no server {server}")
        if found.role is not Role.RECORDING:
            raise InvalidInput(f"{server} is a failover server: it has no settings of its own")
        return found

    async def _head(self, server: str, session: Session | None = None) -> Head:
        return await self._heads.get(server, session) or Head(server)

    async def _put_head(self, session: Session, head: Head, **changes: object) -> Head:
        # The revision makes every write a change: two transactions that read one head never both commit.
        changed = msgspec.structs.replace(head, revision=head.revision + 1, **changes)
        await self._heads.replace(changed, session, upsert=True)
        return changed

    async def _content(self, server: str, version: int, session: Session | None = None) -> ServerSettings:
        record = await self._versions.get(version_id(server, version), session) if version else None
        return record.content if record else NO_SETTINGS

    async def _append_version(
        self, session: Session, head: Head, settings: ServerSettings, by: str, failover: str | None
    ) -> int:
        version = head.highest + 1
        record = Version(
            id=version_id(head.server, version),
            server=head.server,
            version=version,
            written_at=self._clock.wall_ms(),
            by=by,
            settings=msgspec.json.encode(settings).decode(),
            failover=failover,
        )
        await self._versions.insert(record, session)
        return version

    async def _change_camera_ids(
        self,
        session: Session,
        server: str,
        before: ServerSettings,
        after: ServerSettings,
        original: ServerSettings | None,
    ) -> None:
        ids = sorted(camera_ids(after) - camera_ids(before))
        known = by_id(await self._camera_ids.find({"_id": {"$in": ids}}, session=session))
        changes = camera_id_changes(before, after, known, server=server, original=original)
        for each in changes.claimed:
            await self._camera_ids.insert(CameraId(each, server), session)
        await self._retire(session, server, changes.retired)

    async def _retire(self, session: Session, server: str, ids: list[str]) -> None:
        for each in ids:
            await self._camera_ids.replace(CameraId(each, server, retired=True), session, upsert=True)

    async def _tell(self, session: Session, event: str, body: SettingsChanged) -> None:
        await self._outbox.append(session, "settings", body.server, event, body)

    async def _transact(self, work: Callable[[Session], Coroutine[Any, Any, R]]) -> R:
        result = await self._database.transact(work)
        self._outbox.wake()
        return result
