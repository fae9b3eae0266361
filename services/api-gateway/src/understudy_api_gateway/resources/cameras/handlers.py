"""`/servers/{id}/cameras`, `/cameras/{id}`."""

from __future__ import annotations

import secrets
from typing import Literal

import msgspec
from litestar import Router, delete, get, patch, post
from litestar.params import FromPath, JSONBody
from msgspec import UNSET, UnsetType
from understudy_contracts.errors import Conflict
from understudy_contracts.ids import Id, id_from_name
from understudy_contracts.settings import (
    Camera,
    CameraSource,
    Name,
    PostRecordSeconds,
    PreRecordSeconds,
    RecordingMode,
    ServerSettings,
    SnapshotSeconds,
    VersionedSettings,
)
from understudy_contracts.verbs import PUT_CAMERA, REMOVE_CAMERA, PutCamera, RemoveCamera

from understudy_api_gateway.identity import Identity
from understudy_api_gateway.injection import IdentityOf, PartsOf
from understudy_api_gateway.parts import Parts
from understudy_api_gateway.resources.cameras.addresses import check_camera_url
from understudy_api_gateway.resources.cameras.finding import camera_in, find_camera
from understudy_api_gateway.resources.cameras.states import CameraHealth, ServedBy, served_by
from understudy_api_gateway.resources.servers.naming import checked_name
from understudy_api_gateway.resources.servers.registry import find_recording_server
from understudy_api_gateway.resources.settings.masking import MASK, unmasked
from understudy_api_gateway.resources.settings.reading import check_licenses, read_settings
from understudy_api_gateway.resources.settings.requests import SourceGiven

_PLAIN = ("enabled", "recording", "audio", "snapshot_every_s", "pre_record_s", "post_record_s")


class AddCamera(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Without `id`, one is made from the name."""

    name: Name
    source: SourceGiven
    id: Id | None = None
    enabled: bool = True
    recording: RecordingMode = "continuous"
    audio: Literal["copy", "off"] = "copy"
    sub_source: SourceGiven | None = None
    snapshot_every_s: SnapshotSeconds | None = None
    pre_record_s: PreRecordSeconds = 5
    post_record_s: PostRecordSeconds = 10


class ChangeCamera(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is left out stays as it is."""

    name: Name | UnsetType = UNSET
    source: SourceGiven | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    recording: RecordingMode | UnsetType = UNSET
    audio: Literal["copy", "off"] | UnsetType = UNSET
    sub_source: SourceGiven | UnsetType | None = UNSET
    snapshot_every_s: SnapshotSeconds | UnsetType | None = UNSET
    pre_record_s: PreRecordSeconds | UnsetType = UNSET
    post_record_s: PostRecordSeconds | UnsetType = UNSET


class CameraView(msgspec.Struct, frozen=True):
    """A camera without its password; `server` is whose it is, `served_by` the server that has it now.

    `state` is what that one does with it (recording, reconnecting, refused, ...), or `unknown`; `health` is
    None while that one is not heard, or has not taken it up.
    """

    id: str
    name: str
    server: str
    source: CameraSource
    enabled: bool
    recording: str
    state: str
    reason: str
    served_by: str
    health: CameraHealth | None
    snapshot_every_s: int | None
    pre_record_s: int
    post_record_s: int
    audio: str
    sub_source: CameraSource | None


class CameraList(msgspec.Struct, frozen=True):
    items: list[CameraView]


@get("/")
async def list_cameras(server_id: FromPath[str], parts: PartsOf) -> CameraList:
    server = await find_recording_server(parts.database, server_id)
    settings = await read_settings(parts, server.id)
    now = await served_by(parts, server)
    return CameraList([_view(server.id, camera, now) for camera in settings.settings.cameras])


@post("/")
async def add(
    server_id: FromPath[str], data: JSONBody[AddCamera], parts: PartsOf, identity: IdentityOf
) -> CameraView:
    server = await find_recording_server(parts.database, server_id)
    settings = await read_settings(parts, server.id)
    name = checked_name(data.name)
    camera_id = data.id or f"{id_from_name(name) or 'camera'}-{secrets.token_hex(3)}"
    if camera_in(settings, camera_id) is not None:
        raise Conflict(f"there is a camera {camera_id} already")
    source = _source(data.source, None)
    camera = Camera(
        camera_id,
        name,
        source,
        data.enabled,
        data.recording,
        snapshot_every_s=data.snapshot_every_s,
        pre_record_s=data.pre_record_s,
        post_record_s=data.post_record_s,
        audio=data.audio,
        sub_source=_source(data.sub_source, None, "sub_source") if data.sub_source else None,
    )
    return await _put(parts, identity, settings, camera, create=True)


@get("/")
async def show(camera_id: FromPath[str], parts: PartsOf) -> CameraView:
    settings, camera = await find_camera(parts, camera_id)
    server = await find_recording_server(parts.database, settings.server)
    return _view(server.id, camera, await served_by(parts, server))


@patch("/")
async def change(
    camera_id: FromPath[str], data: JSONBody[ChangeCamera], parts: PartsOf, identity: IdentityOf
) -> CameraView:
    settings, before = await find_camera(parts, camera_id)
    given = {field: getattr(data, field) for field in _PLAIN if getattr(data, field) is not UNSET}
    camera = msgspec.structs.replace(
        before,
        name=before.name if data.name is UNSET else checked_name(data.name),
        source=before.source if data.source is UNSET else _source(data.source, before.source),
        sub_source=_sub_source(data.sub_source, before.sub_source),
        **given,
    )
    return await _put(parts, identity, settings, camera, create=False)


@delete("/")
async def remove(camera_id: FromPath[str], parts: PartsOf, identity: IdentityOf) -> None:
    settings, camera = await find_camera(parts, camera_id)
    await parts.ask(
        REMOVE_CAMERA,
        RemoveCamera(settings.server, camera.id, identity.user),
        user=identity.user,
        what="removed-camera",
        subject=camera.id,
        server=settings.server,
    )


async def _put(
    parts: Parts, identity: Identity, settings: VersionedSettings, camera: Camera, *, create: bool
) -> CameraView:
    check_camera_url(camera.source.url)
    if camera.sub_source is not None:
        check_camera_url(camera.sub_source.url)
    before = settings.settings
    others = [other for other in before.cameras if other.id != camera.id]
    after: ServerSettings = msgspec.structs.replace(before, cameras=[*others, camera])
    await check_licenses(parts, settings.server, before, after)
    await parts.ask(
        PUT_CAMERA,
        PutCamera(settings.server, camera, identity.user, create),
        user=identity.user,
        what="added-camera" if create else "changed-camera",
        subject=camera.id,
        server=settings.server,
    )
    server = await find_recording_server(parts.database, settings.server)
    return _view(server.id, camera, await served_by(parts, server))


def _source(given: SourceGiven, before: CameraSource | None, field: str = "source") -> CameraSource:
    old = msgspec.to_builtins(before) if before is not None else None
    return msgspec.convert(unmasked(msgspec.to_builtins(given), old, field), CameraSource)


def _sub_source(given: SourceGiven | UnsetType | None, before: CameraSource | None) -> CameraSource | None:
    if given is UNSET:
        return before
    return None if given is None else _source(given, before, "sub_source")


def _shown(source: CameraSource) -> CameraSource:
    return msgspec.structs.replace(source, password=MASK) if source.password else source


def _view(server_id: str, camera: Camera, now: ServedBy) -> CameraView:
    state, reason = now.state_of(camera.id) if camera.enabled else ("disabled", "switched off by a person")
    return CameraView(
        id=camera.id,
        name=camera.name,
        server=server_id,
        source=_shown(camera.source),
        enabled=camera.enabled,
        recording=camera.recording,
        state=state,
        reason=reason,
        served_by=now.server,
        health=now.health_of(camera.id),
        snapshot_every_s=camera.snapshot_every_s,
        pre_record_s=camera.pre_record_s,
        post_record_s=camera.post_record_s,
        audio=camera.audio,
        sub_source=_shown(camera.sub_source) if camera.sub_source else None,
    )


server_cameras_router = Router("/servers/{server_id:str}/cameras", route_handlers=[list_cameras, add])
cameras_router = Router("/cameras/{camera_id:str}", route_handlers=[show, change, remove])
