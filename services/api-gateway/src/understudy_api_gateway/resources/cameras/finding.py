"""Which server a camera belongs to: the config-replicator knows each server's cameras; we ask around."""

from __future__ import annotations

import asyncio

from understudy_contracts.errors import NotFound
from understudy_contracts.ids import check_id
from understudy_contracts.model import Role
from understudy_contracts.settings import Camera, VersionedSettings
from understudy_store import collections

from understudy_api_gateway.parts import Parts
from understudy_api_gateway.resources.settings.reading import read_settings

_AT_ONCE = 16


def camera_in(settings: VersionedSettings, camera_id: str) -> Camera | None:
    """The camera with this id in `settings`."""
    return next((camera for camera in settings.settings.cameras if camera.id == camera_id), None)


async def find_camera(parts: Parts, camera_id: str) -> tuple[VersionedSettings, Camera]:
    """The camera, and the settings that it is in.

    Raises:
        InvalidId: `camera_id` is no id.
        NotFound: no server has it.
        Unavailable: the config-replicator does not answer.
    """
    check_id(camera_id, "camera id")
    found = await collections.servers(parts.database).find({"role": str(Role.RECORDING)}, order=[("_id", 1)])
    for start in range(0, len(found), _AT_ONCE):
        asked = (read_settings(parts, server.id) for server in found[start : start + _AT_ONCE])
        for settings in await asyncio.gather(*asked):
            camera = camera_in(settings, camera_id)
            if camera is not None:
                return settings, camera
    raise NotFound(f"there is no camera {camera_id}")
