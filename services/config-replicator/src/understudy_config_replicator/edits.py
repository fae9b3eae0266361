"""What an edit makes of a settings document, or why it is refused. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
from understudy_contracts.errors import Conflict, InvalidInput
from understudy_contracts.settings import Camera, ServerSettings

from understudy_config_replicator.documents import CameraId

Edit = Callable[[ServerSettings], ServerSettings]

# The bus carries 8 MiB and a document of the database 16 MiB; text within text grows by escaping.
MAXIMUM_SETTINGS_BYTES: Final = 4 * 1024 * 1024


def check_settings(settings: ServerSettings) -> None:
    """Raises:
    InvalidInput: an id occurs twice in one list, or the whole is too large to reach a machine.
    """
    for field in msgspec.structs.fields(settings):
        entries = getattr(settings, field.name)
        if isinstance(entries, list):
            _check_distinct(field.name, [entry.id for entry in entries])
    size = len(msgspec.json.encode(settings))
    if size > MAXIMUM_SETTINGS_BYTES:
        raise InvalidInput(
            f"these settings are {size} bytes long, and a machine can take {MAXIMUM_SETTINGS_BYTES}: "
            "make the configuration of its devices smaller"
        )


def _check_distinct(what: str, ids: list[str]) -> None:
    seen: set[str] = set()
    for each in ids:
        if each in seen:
            raise InvalidInput(f"the id {each} occurs twice in {what}: give each its own")
        seen.add(each)


def put_camera(settings: ServerSettings, camera: Camera, *, create: bool) -> ServerSettings:
    """The settings with this camera, in the place of the one with its id; with `create` it must be new.

    Raises:
        Conflict: `create`, and there is another camera with this id.
    """
    present = {each.id: each for each in settings.cameras}
    if present.get(camera.id) == camera:
        return settings
    if camera.id not in present:
        return msgspec.structs.replace(settings, cameras=[*settings.cameras, camera])
    if create:
        raise Conflict(f"there is a camera {camera.id} already: choose another id", camera=camera.id)
    cameras = [camera if each.id == camera.id else each for each in settings.cameras]
    return msgspec.structs.replace(settings, cameras=cameras)


def remove_camera(settings: ServerSettings, camera: str) -> ServerSettings:
    """The settings without this camera; without it already, they stay as they are."""
    cameras = [each for each in settings.cameras if each.id != camera]
    if len(cameras) == len(settings.cameras):
        return settings
    return msgspec.structs.replace(settings, cameras=cameras)


@dataclass(frozen=True)
class CameraIdChanges:
    """Ids that an edit takes up, and those that it gives up for ever."""

    claimed: list[str]
    retired: list[str]


def camera_id_changes(
    before: ServerSettings,
    after: ServerSettings,
    known: Mapping[str, CameraId],
    *,
    server: str,
    original: ServerSettings | None,
) -> CameraIdChanges:
    """What an edit of `server`'s settings does to the camera ids of the system; `known` are the ids among
    those of `after` that were given out already. `original` is given for an edit of a failover's copy: what
    the original has stays its own, however the copy is edited.

    Raises:
        Conflict: an id belongs to another server, or was used before: ids are global and never reused.
    """
    kept = camera_ids(original) if original is not None else set()
    fresh = camera_ids(after) - camera_ids(before) - kept
    for each in sorted(fresh):
        owner = known.get(each)
        if owner is not None:
            raise Conflict(_taken(owner, server), camera=each, server=owner.server)
    gone = camera_ids(before) - camera_ids(after) - kept
    return CameraIdChanges(sorted(fresh), sorted(gone))


def _taken(owner: CameraId, server: str) -> str:
    if owner.retired:
        return f"the camera id {owner.id} was used before and is never reused: choose another"
    where = "this server" if owner.server == server else f"server {owner.server}"
    return f"the camera id {owner.id} belongs to {where}: choose another"


def camera_ids(settings: ServerSettings) -> set[str]:
    return {camera.id for camera in settings.cameras}


def given_up(copy: ServerSettings, original: ServerSettings) -> list[str]:
    """The ids of cameras that were only in a failover's copy: they end with it."""
    return sorted(camera_ids(copy) - camera_ids(original))


def by_id(ids: Iterable[CameraId]) -> dict[str, CameraId]:
    return {each.id: each for each in ids}
