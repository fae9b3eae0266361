"""Reads what the machines should have from the database; contents of versions are read once."""

from __future__ import annotations

from collections.abc import Mapping

from understudy_contracts.model import Role
from understudy_contracts.settings import ServerSettings, VersionedSettings
from understudy_store import collections
from understudy_store.database import Database

from understudy_config_replicator.desired import Desired, desired_states
from understudy_config_replicator.settings_store import NO_SETTINGS, SettingsStore


class DesiredSource:
    """Versions never change, so those in use are kept in memory and only new ones are fetched."""

    def __init__(self, database: Database, store: SettingsStore) -> None:
        self._database = database
        self._store = store
        self._servers = collections.servers(database)
        self._contents: dict[tuple[str, int], ServerSettings] = {}

    async def load(self, addresses: Mapping[str, str]) -> dict[str, Desired]:
        """The desired state of each machine as the database tells it now; `addresses` are those that the
        machines told.

        Raises:
            Unavailable: MongoDB does not answer.
        """
        servers = {server.id: server for server in await self._servers.find()}
        versions = {head.server: head.version for head in await self._store.heads()}
        copies = [copy for copy in await self._store.open_copies() if copy.server in servers]
        recording = [server for server in servers.values() if server.role is Role.RECORDING]
        wanted = {(server.id, versions.get(server.id, 0)) for server in recording}
        wanted |= {(copy.server, copy.version) for copy in copies}
        await self._fetch(wanted)
        originals = {
            server.id: VersionedSettings(
                server.id, server.name, versions.get(server.id, 0), self._content(server.id, versions)
            )
            for server in recording
        }
        operated = [
            (
                copy.machine,
                VersionedSettings(
                    server=copy.server,
                    server_name=servers[copy.server].name,
                    version=copy.version,
                    settings=self._contents.get((copy.server, copy.version), NO_SETTINGS),
                    failover=copy.failover,
                ),
            )
            for copy in copies
        ]
        defaults = await collections.read_defaults(self._database)
        return desired_states(servers.values(), originals, operated, defaults, addresses)

    def _content(self, server: str, versions: dict[str, int]) -> ServerSettings:
        return self._contents.get((server, versions.get(server, 0)), NO_SETTINGS)

    async def _fetch(self, wanted: set[tuple[str, int]]) -> None:
        missing = sorted(key for key in wanted - self._contents.keys() if key[1])
        fetched = await self._store.contents(missing) if missing else {}
        kept = {key: value for key, value in self._contents.items() if key in wanted}
        self._contents = kept | fetched
