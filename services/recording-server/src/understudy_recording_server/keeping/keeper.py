"""Removes footage that need not be kept, and tells how long there is room."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog
from understudy_contracts.machine import CameraEvidence, FootageGap, Storage
from understudy_footage import FootagePath, FootageRoot, InvalidFootageName
from understudy_footage.catalog import split_folder
from understudy_runtime.clock import Clock

from understudy_recording_server.keeping.care import Care, must_stop, storage_with_care
from understudy_recording_server.keeping.clock_book import ClockBook
from understudy_recording_server.keeping.folders import remove_files, remove_left_copies
from understudy_recording_server.keeping.forecast import WriteRate, hours_left
from understudy_recording_server.keeping.gaps import GapBook
from understudy_recording_server.keeping.index import FootageIndex
from understudy_recording_server.keeping.removal_order import RemovalOrder
from understudy_recording_server.keeping.retention import (
    Doomed,
    Room,
    Rules,
    WallClockWatch,
    doomed,
    minimum_free,
)
from understudy_recording_server.own_thread import beside
from understudy_recording_server.settings_store import SETTINGS_FOLDER
from understudy_recording_server.wanted import OWN_FOLDER, folder_of

ROUND_S = 1.0
PAUSE_AFTER_TROUBLE_S = 10.0

log = structlog.get_logger()


class FootageKeeper:
    """`care` tells what is to be kept now, `cameras` what is written; `changed` is called when recording must
    stop or may go on, `lost` with what should not have happened: footage is gone that this machine did not
    remove, or cannot be listed."""

    def __init__(
        self,
        data_dir: Path,
        clock: Clock,
        *,
        care: Callable[[], Care],
        cameras: Callable[[], list[CameraEvidence]],
        changed: Callable[[], None],
        lost: Callable[[str], None],
    ) -> None:
        self.stopped = False
        self.hours_left: float | None = None
        self._data = FootageRoot(data_dir)
        self._clock = clock
        self._care = care
        self._cameras = cameras
        self._changed = changed
        self._index = FootageIndex(self._data, lost)
        self._book = GapBook(data_dir / SETTINGS_FOLDER)
        self._clock_book = ClockBook(data_dir / SETTINGS_FOLDER)
        self._rate = WriteRate()
        self._wall_clock = WallClockWatch(clock.wall_ms(), clock.monotonic())
        self._rests_until = 0.0
        self._order = RemovalOrder()

    @property
    def files(self) -> int:
        return self._index.catalog.files if self._index.catalog else 0

    @property
    def bytes(self) -> int:
        return self._index.catalog.bytes if self._index.catalog else 0

    @property
    def gaps(self) -> list[FootageGap]:
        """Those of failovers whose footage is here, and of the one that is served in."""
        here = {folder_of(gap.failover): gap.failover for gap in self._book.gaps}
        folders = set(self._index.catalog.folders if self._index.catalog else ())
        away = self._care().away
        kept = {failover for folder, failover in here.items() if folder in folders} | {away}
        return [gap for gap in self._book.gaps if gap.failover in kept]

    def storage(self, storage: Storage) -> Storage:
        """The state of the storage, with what its filling up means."""
        return storage_with_care(storage, self._care(), self.hours_left, stopped=self.stopped)

    def note(self, path: str, size: int) -> None:
        """A file is finished; `path` is relative to the data folder, `size` in bytes."""
        self._note_made(path)
        self._index.tell(path, size)

    def look_again(self) -> None:
        """Files have come or gone in another way: build the index anew at the next round."""
        self._index.look_again()

    def forget_folder(self, folder: str) -> None:
        """A folder is about to be removed, on purpose."""
        self._index.forget_folder(folder)

    async def run(self) -> None:
        """Care for the footage until cancelled."""
        await self.load()
        while True:
            await self.round()
            await asyncio.sleep(ROUND_S)

    async def load(self) -> None:
        """Read what an earlier run has left."""
        await asyncio.to_thread(self._book.load)
        before = await asyncio.to_thread(self._clock_book.load)
        self._wall_clock = WallClockWatch(self._clock.wall_ms(), self._clock.monotonic(), before)
        began_s = self._clock.wall_ms() / 1000
        try:
            await beside(lambda: remove_left_copies(self._data, began_s), "unfinished copies")
        except OSError as error:
            log.warning("copies that were not finished are still here", error=error.strerror)

    async def rebuild(self) -> None:
        """Build the index from the files. When that fails there is none, and nothing is removed."""
        self._order.try_again()
        await self._index.build()

    async def round(self) -> None:
        """Look once, and remove once what has to go."""
        if await self._index.is_due():
            await self.rebuild()
        self._rate.note(time.monotonic(), sum(camera.bytes_written for camera in self._cameras()))
        await self._make_room()

    async def _room(self, folder: str) -> Room | None:
        def look() -> os.statvfs_result:
            try:
                # It may be a disk of its own.
                return os.statvfs(self._data.folder(folder).recordings)
            except FileNotFoundError:
                return os.statvfs(self._data.path)

        try:
            sizes = await beside(look, "room")
        except OSError:
            return None  # Told by the storage watch.
        unit = sizes.f_frsize
        return Room(sizes.f_blocks * unit, sizes.f_bavail * unit, sizes.f_files, sizes.f_favail)

    async def _make_room(self) -> None:
        care = self._care()
        wall_ms, monotonic_s = self._clock.wall_ms(), self._clock.monotonic()
        trusted = self._wall_clock.trusted(wall_ms, monotonic_s)
        if care.own is not None:
            room = await self._room(OWN_FOLDER)
            own = self._doomed(OWN_FOLDER, care.own, room, wall_ms if trusted else None, care.not_home)
            await self._remove(OWN_FOLDER, own)
        if care.away is not None and care.when_full == "oldest-first":
            folder = folder_of(care.away)
            away = self._doomed(folder, care.away_rules, await self._room(folder), None)
            if away:
                await self._name(care.away, away)
                await self._remove(folder, away)
        if not self._book.saved:
            await beside(self._book.save, "gaps")
        note = self._wall_clock.note(wall_ms, monotonic_s)
        if self._clock_book.is_due(note, monotonic_s):
            await beside(lambda: self._clock_book.save(note, monotonic_s), "clock")
        room = await self._room(OWN_FOLDER if care.away is None else folder_of(care.away))
        if room is not None:
            self._forecast(care, room)

    def _doomed(
        self,
        folder: str,
        rules: Rules,
        room: Room | None,
        now_ms: int | None,
        not_home: frozenset[str] = frozenset(),
    ) -> list[Doomed]:
        catalog = self._index.catalog
        if catalog is None or room is None or time.monotonic() < self._rests_until:
            return []
        shelf = catalog.shelf(folder)
        files = self._order.of(folder, shelf.files, self._clock.monotonic())
        return doomed(files, rules, room, held_bytes=shelf.bytes, now_ms=now_ms, not_home=not_home)

    def _note_made(self, path: str) -> None:
        catalog = self._index.catalog
        if catalog is None:
            return
        try:
            folder, within = split_folder(path)
            start_ms = FootagePath.parse(within).name.start_ms
        except InvalidFootageName:
            return  # Told when it is noted.
        files = catalog.shelf(folder).files
        if files:
            self._order.made(folder, within, start_ms, files[-1].start_ms, self._clock.monotonic())

    async def _name(self, failover: str, away: Sequence[Doomed]) -> None:
        cause = "the failover server's disk was full"
        await beside(lambda: self._book.name(failover, [each.held for each in away], cause), "gaps")

    async def _remove(self, folder: str, files: Sequence[Doomed]) -> None:
        if not files:
            return
        root = self._data.folder(folder)
        now_ms = self._clock.wall_ms()
        paths = [each.held.path for each in files]
        removed = await beside(lambda: remove_files(root, paths, now_ms), "retention")
        self._index.removed(root, folder, removed.gone)
        if removed.gone:
            log.info("footage removed", folder=folder, files=len(removed.gone), reason=files[0].reason)
        self._order.refused(folder, removed.refused)
        if removed.is_sick:
            self._rests_until = time.monotonic() + PAUSE_AFTER_TROUBLE_S
        if removed.trouble:
            log.warning("footage cannot be removed", reason=removed.trouble, files=len(removed.refused))

    def _forecast(self, care: Care, room: Room) -> None:
        stopped = must_stop(care, room, stopped=self.stopped)
        self.hours_left = None
        if care.away is not None:
            least = minimum_free(care.away_rules, room.total)
            self.hours_left = hours_left(room.free, least, self._rate.bytes_per_second)
        if stopped is not self.stopped:
            self.stopped = stopped
            log.warning("recording stops: the disk is full" if stopped else "there is room to record again")
            self._changed()
