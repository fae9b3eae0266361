"""Settings on disk: this server's own, and those staged for servers that it may take over."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec
import structlog
from understudy_contracts.errors import Conflict, StaleEpoch, Unavailable
from understudy_contracts.ids import check_id, is_id
from understudy_contracts.settings import VersionedSettings

from understudy_recording_server.private_files import (
    PRIVATE_FOLDER,
    CannotRead,
    read_twice,
    remove_twice,
    write_twice,
)

SETTINGS_FOLDER = "settings"

log = structlog.get_logger()


def check_version(held: VersionedSettings | None, came: VersionedSettings, *, operated: bool = False) -> bool:
    """Whether `came` brings anything new. `operated`: this machine serves with the held settings now.

    The copy that a failover operates has versions of its own above the original's; when it is over, the
    original comes back with its lower one.

    Raises:
        StaleEpoch: it is older than what is held.
        Conflict: it is the same version with other content.
    """
    if held is None or held.server != came.server:
        return True
    if came.version > held.version:
        return True
    if held.failover is not None and came.failover is None and not operated:
        return True
    if came.version < held.version:
        raise StaleEpoch(
            f"version {came.version} of the settings of {came.server} is older than version {held.version}, "
            "which this machine has"
        )
    if came.settings != held.settings:
        raise Conflict(f"version {came.version} of the settings of {came.server} is here with other content")
    return came != held


class SettingsStore:
    """What is on disk, held in memory; a change is on disk before it is seen here.

    Passwords of cameras are in these files: readable by their owner only (promise P13).
    """

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir / SETTINGS_FOLDER
        self._own_file = self.folder / "own.json"
        self._staged_folder = self.folder / "staged"
        self.own: VersionedSettings | None = None
        self.staged: dict[str, VersionedSettings] = {}

    def load(self) -> None:
        """Read what there is. What is damaged, copy and all, is passed by and logged: the host sends it
        again."""
        self.own = _read(self._own_file)
        self.staged = {}
        for path in self._staged_files():
            settings = _read(path)
            if settings is not None and is_id(path.stem) and settings.server == path.stem:
                self.staged[path.stem] = settings

    def _staged_files(self) -> list[Path]:
        try:
            with os.scandir(self._staged_folder) as entries:
                return sorted(Path(entry.path) for entry in entries if entry.name.endswith(".json"))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            log.error("the folder of staged settings cannot be read", error=error.strerror)
            return []

    @property
    def staged_versions(self) -> dict[str, int]:
        return {server: settings.version for server, settings in self.staged.items()}

    async def save_again(self) -> None:
        """Write everything that is held, should somebody have removed it from the disk.

        Raises:
            Unavailable: the disk said no.
        """
        await self.keep_own(self.own)
        for settings in list(self.staged.values()):
            await self.stage(settings)

    async def keep_own(self, settings: VersionedSettings | None) -> None:
        """Raises:
        Unavailable: the disk said no.
        """
        await asyncio.to_thread(self._write, self._own_file, settings)
        self.own = settings

    async def stage(self, settings: VersionedSettings) -> None:
        """Raises:
        Unavailable: the disk said no.
        """
        path = self._staged_folder / f"{check_id(settings.server)}.json"
        await asyncio.to_thread(self._write, path, settings)
        self.staged[settings.server] = settings

    async def unstage(self, server: str) -> None:
        """Raises:
        Unavailable: the disk said no.
        """
        await asyncio.to_thread(self._write, self._staged_folder / f"{check_id(server)}.json", None)
        self.staged.pop(server, None)

    def _write(self, path: Path, settings: VersionedSettings | None) -> None:
        try:
            for folder in (self.folder, path.parent):
                folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
            if settings is None:
                remove_twice(path)
            else:
                write_twice(path, msgspec.json.encode(settings))
        except OSError as error:
            raise Unavailable(f"the machine cannot save settings: {error.strerror}") from None


def _read(path: Path) -> VersionedSettings | None:
    try:
        return read_twice(path, VersionedSettings)
    except CannotRead as error:
        log.error("settings are lost", error=str(error))
        return None
