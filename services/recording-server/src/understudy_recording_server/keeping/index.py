"""What footage this machine holds: built from the files now and then, kept up with what is told meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

import structlog
from understudy_footage import Catalog, FootageRoot, InvalidFootageName
from understudy_footage.names import RECORDINGS, SNAPSHOTS

from understudy_recording_server.keeping.folders import Days, look
from understudy_recording_server.own_thread import beside
from understudy_recording_server.wanted import OWN_FOLDER

LOOK_AGAIN_S = 60.0
LOOK_AGAIN_SHARE = 100
"""The index is built anew every minute, or less often where that takes long: a hundredth of the time."""
PAUSE_AFTER_TROUBLE_S = 10.0

log = structlog.get_logger()


class FootageIndex:
    """`lost` is called with what should not have happened: footage is gone that this machine did not remove,
    or cannot be listed."""

    def __init__(self, data: FootageRoot, lost: Callable[[str], None]) -> None:
        self.catalog: Catalog | None = None
        """None: what there is is not known, or not for sure. Nothing must be removed then."""
        self._data = data
        self._lost = lost
        self._news: list[tuple[str, int | None]] | None = None
        self._forgotten: list[str] | None = None
        self._days: Days = {}
        self._build_at = 0.0
        self._again = False
        self._building = asyncio.Lock()

    def look_again(self) -> None:
        """Files have come or gone in another way: build it anew at the next round."""
        self._again = True

    def forget_folder(self, folder: str) -> None:
        """A folder is about to be removed, on purpose: also for an index that is being built now."""
        if self._forgotten is not None:
            self._forgotten.append(folder)
        prefix = str(self._data.folder(folder).path) if folder else str(self._data.path)
        self._days = {path: days for path, days in self._days.items() if not path.startswith(f"{prefix}/")}
        if folder == OWN_FOLDER:
            self.catalog = None  # Everything goes.
        elif self.catalog is not None:
            self.catalog.forget_folder(folder)

    def tell(self, path: str, size: int | None) -> None:
        """A file is there, or without a size gone: also for an index that is being built now. `path` is
        relative to the data folder."""
        if self._news is not None:
            self._news.append((path, size))
        if self.catalog is None:
            return
        try:
            if size is None:
                self.catalog.forget(path)
            else:
                self.catalog.note(path, size)
        except InvalidFootageName as error:
            log.warning("a file has a name that is none of ours", reason=error.message)

    def removed(self, root: FootageRoot, folder: str, paths: Iterable[str]) -> None:
        """These files of a root have been removed by us. Folders that went with them are no loss."""
        known = set()
        for path in paths:
            self.tell(f"{folder}/{path}" if folder else path, None)
            known.add(str(root.path / path).rsplit("/", 1)[0])
        self._days = {
            camera: (inode, changed, frozenset(day for day in days if f"{camera}/{day}" not in known))
            for camera, (inode, changed, days) in self._days.items()
        }

    async def is_due(self) -> bool:
        """Look at the folders; whether the index is to be built anew."""
        days = self._days
        seen, lost = await beside(lambda: self._look(days), "look at footage")
        if days is self._days:
            self._days = seen
        else:
            lost = []  # A folder was removed on purpose meanwhile: the next look tells.
        if lost:
            log.error("folders of footage are gone", folders=lost[:5], count=len(lost))
        return bool(lost) or self._again or time.monotonic() >= self._build_at

    async def build(self) -> None:
        """Build it from the files. When that fails there is none."""
        async with self._building:
            self._again = False
            began = time.monotonic()
            before = self.catalog
            self._news, self._forgotten = [], []
            try:
                catalog = await beside(lambda: Catalog.build(self._data), "index")
            except OSError as error:
                log.warning("the footage cannot be listed, so none is removed", error=error.strerror)
                self._lost(f"the footage cannot be listed, so none is removed: {error.strerror}")
                self.catalog, self._news, self._forgotten = None, None, None
                self._build_at = time.monotonic() + PAUSE_AFTER_TROUBLE_S
                return
            told, self._news = self._news, None
            forgotten, self._forgotten = self._forgotten, None
            # All footage is being removed: a list of what there was a moment ago is none of what there is.
            self.catalog = None if OWN_FOLDER in forgotten else catalog
            for folder in forgotten:
                catalog.forget_folder(folder)
            for path, size in told:
                self.tell(path, size)
            took = time.monotonic() - began
            self._build_at = time.monotonic() + max(LOOK_AGAIN_S, took * LOOK_AGAIN_SHARE)
        log.debug("index built", files=catalog.files, bytes=catalog.bytes, seconds=round(took, 2))
        if before is not None and self.catalog is not None:
            self._compare(before, catalog)

    def _look(self, days: Days) -> tuple[Days, list[str]]:
        """For a thread: a sick disk may not answer, or with errors, which the index then tells of."""
        try:
            failovers = self._data.failovers()
        except OSError:
            return days, []
        roots = [self._data, *(self._data.failover(failover) for failover in failovers)]
        return look([root.path / place for root in roots for place in (RECORDINGS, SNAPSHOTS)], days)

    def _compare(self, before: Catalog, now: Catalog) -> None:
        """Notice what is gone. What this machine removed itself had been struck out before."""
        gone = before.entries().keys() - now.entries().keys()
        if gone:
            cameras = sorted({path.split("/")[-3] for path in gone})
            shown = ", ".join(cameras[:3]) + (", ..." if len(cameras) > 3 else "")
            log.error("footage is gone", files=len(gone), cameras=cameras[:20])
            self._lost(f"{len(gone)} files of {shown} are gone that this server did not remove")
