"""Settings of a server as they are in force, and what license keys they need."""

from __future__ import annotations

from typing import Any

import msgspec
from understudy_contracts.errors import InvalidInput
from understudy_contracts.settings import ServerSettings, VersionedSettings
from understudy_contracts.verbs import READ_SETTINGS, ReadSettings
from understudy_store import collections

from understudy_api_gateway.parts import Parts
from understudy_api_gateway.problems import LicenseMissing
from understudy_api_gateway.resources.cameras.addresses import check_camera_url
from understudy_api_gateway.resources.settings.masking import masked


async def read_settings(parts: Parts, server_id: str, version: int | None = None) -> VersionedSettings:
    """The settings in force, or those of one version.

    Raises:
        Unavailable: the config-replicator does not answer.
    """
    return await parts.bus.ask(READ_SETTINGS, ReadSettings(server_id, version=version))


def shown(settings: VersionedSettings) -> VersionedSettings:
    """`settings` without secrets."""
    return msgspec.convert(masked(_plain(settings)), VersionedSettings)


def _plain(settings: VersionedSettings) -> Any:
    return msgspec.to_builtins(settings)


def check_settings(settings: ServerSettings) -> None:
    """Raises:
    InvalidInput: an id twice, or a camera address that must not be fetched.
    """
    seen: set[str] = set()
    for camera in settings.cameras:
        if camera.id in seen:
            raise InvalidInput(f"camera {camera.id} is there twice")
        seen.add(camera.id)
        check_camera_url(camera.source.url)
        if camera.sub_source is not None:
            check_camera_url(camera.sub_source.url)


async def check_licenses(parts: Parts, server_id: str, before: ServerSettings, after: ServerSettings) -> None:
    """Refuse to go further beyond the license keys of the server; keys lent to a failover count, they come
    back. What already is beyond them may stay: no license rule stops a camera.

    Raises:
        LicenseMissing: more cameras are on than there are keys, and more than before.
    """
    wanted = cameras_on(after)
    if wanted <= cameras_on(before):
        return
    where = {"$or": [{"home": server_id}, {"holder": server_id, "home": None}]}
    held = await collections.license_keys(parts.database).count(where)
    if wanted > held:
        raise LicenseMissing(
            f"{wanted} cameras need {wanted} license keys, and this server holds {held}: import keys "
            "(POST /api/v1/licenses), or disable a camera",
            needed=wanted,
            held=held,
        )


def cameras_on(settings: ServerSettings) -> int:
    """How many cameras are enabled: each needs a key."""
    return sum(camera.enabled for camera in settings.cameras)
