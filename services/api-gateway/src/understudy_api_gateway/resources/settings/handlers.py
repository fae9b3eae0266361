"""`/servers/{id}/settings`, `/servers/{id}/settings/versions`."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import Router, get, put
from litestar.params import FromPath, JSONBody, QueryParameter
from understudy_contracts.settings import VersionedSettings
from understudy_contracts.verbs import (
    READ_VERSIONS,
    WRITE_SETTINGS,
    ReadVersions,
    SettingsVersions,
    WriteSettings,
)

from understudy_api_gateway.injection import IdentityOf, PartsOf
from understudy_api_gateway.resources.servers.registry import find_recording_server
from understudy_api_gateway.resources.settings.masking import holds_mask, unmasked
from understudy_api_gateway.resources.settings.reading import (
    check_licenses,
    check_settings,
    read_settings,
    shown,
)
from understudy_api_gateway.resources.settings.requests import PutSettings, settings_from


@get("/")
async def show(
    server_id: FromPath[str],
    parts: PartsOf,
    version: Annotated[int | None, QueryParameter(ge=0, le=2**53)] = None,
) -> VersionedSettings:
    """The settings in force (during a failover the copy that lives with it), or one version of the past."""
    server = await find_recording_server(parts.database, server_id)
    return shown(await read_settings(parts, server.id, version))


@put("/")
async def change(
    server_id: FromPath[str], data: JSONBody[PutSettings], parts: PartsOf, identity: IdentityOf
) -> VersionedSettings:
    server = await find_recording_server(parts.database, server_id)
    before = await read_settings(parts, server.id)
    given = msgspec.to_builtins(data.settings)
    after = settings_from(unmasked(given, msgspec.to_builtins(before.settings)))
    check_settings(after)
    await check_licenses(parts, server.id, before.settings, after)
    expected = data.expected_version
    if expected is None and holds_mask(given):
        expected = before.version  # the passwords that were kept are those of this version
    written = await parts.ask(
        WRITE_SETTINGS,
        WriteSettings(server.id, after, identity.user, expected),
        user=identity.user,
        what="changed-settings",
        subject=server.id,
    )
    return shown(written)


@get("/versions")
async def list_versions(server_id: FromPath[str], parts: PartsOf) -> SettingsVersions:
    server = await find_recording_server(parts.database, server_id)
    return await parts.bus.ask(READ_VERSIONS, ReadVersions(server.id))


settings_router = Router("/servers/{server_id:str}/settings", route_handlers=[show, change, list_versions])
