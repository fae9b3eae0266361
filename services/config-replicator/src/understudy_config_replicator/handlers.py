"""The edge to the bus: requests in, answers out."""

from __future__ import annotations

from understudy_bus.serving import VerbHandlers
from understudy_contracts.errors import NotFound
from understudy_contracts.model import Service
from understudy_contracts.settings import VersionedSettings
from understudy_contracts.verbs import (
    CLOSE_COPY,
    FORGET_SERVER,
    OPEN_COPY,
    PUT_CAMERA,
    READ_SETTINGS,
    READ_VERSIONS,
    REMOVE_CAMERA,
    WRITE_SETTINGS,
    CloseCopy,
    ForgetServer,
    Nothing,
    OpenCopy,
    PutCamera,
    ReadSettings,
    ReadVersions,
    RemoveCamera,
    SettingsVersions,
    WriteSettings,
)

from understudy_config_replicator.edits import camera_ids, put_camera, remove_camera
from understudy_config_replicator.pusher import Pusher
from understudy_config_replicator.settings_store import SettingsStore


class Handlers:
    """What the replicator is asked."""

    def __init__(self, store: SettingsStore, pusher: Pusher) -> None:
        self._store = store
        self._pusher = pusher

    def verbs(self) -> VerbHandlers:
        verbs = VerbHandlers(Service.CONFIG_REPLICATOR)
        verbs.add(READ_SETTINGS, self.read_settings)
        verbs.add(WRITE_SETTINGS, self.write_settings)
        verbs.add(PUT_CAMERA, self.put_camera)
        verbs.add(REMOVE_CAMERA, self.remove_camera)
        verbs.add(READ_VERSIONS, self.read_versions)
        verbs.add(FORGET_SERVER, self.forget_server)
        verbs.add(OPEN_COPY, self.open_copy)
        verbs.add(CLOSE_COPY, self.close_copy)
        return verbs

    async def read_settings(self, request: ReadSettings) -> VersionedSettings:
        return await self._store.read(request.server, original=request.original, version=request.version)

    async def write_settings(self, request: WriteSettings) -> VersionedSettings:
        written = await self._store.write(
            request.server,
            lambda _: request.settings,
            request.by,
            expected_version=request.expected_version,
        )
        self._pusher.changed()
        return written

    async def put_camera(self, request: PutCamera) -> VersionedSettings:
        written = await self._store.write(
            request.server,
            lambda settings: put_camera(settings, request.camera, create=request.create),
            request.by,
        )
        self._pusher.changed()
        return written

    async def remove_camera(self, request: RemoveCamera) -> VersionedSettings:
        current = await self._store.read(request.server, original=False, version=None)
        if request.camera not in camera_ids(current.settings) and not await self._store.owned_before(
            request.server, request.camera
        ):
            raise NotFound(f"server {request.server} has no camera {request.camera}")
        written = await self._store.write(
            request.server, lambda settings: remove_camera(settings, request.camera), request.by
        )
        self._pusher.changed()
        return written

    async def read_versions(self, request: ReadVersions) -> SettingsVersions:
        return SettingsVersions(await self._store.versions(request.server))

    async def forget_server(self, request: ForgetServer) -> Nothing:
        await self._store.forget(request.server, request.by)
        self._pusher.changed()
        return Nothing()

    async def open_copy(self, request: OpenCopy) -> VersionedSettings:
        copy = await self._store.open_copy(request.failover, request.server, request.machine)
        self._pusher.changed()
        await self._pusher.stage_now(request.machine, copy)
        return copy

    async def close_copy(self, request: CloseCopy) -> Nothing:
        await self._store.close_copy(request.failover)
        self._pusher.changed()
        return Nothing()
