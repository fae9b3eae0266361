"""Manifests of failovers' folders: hashed beside the event loop, each file once."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import structlog
from understudy_contracts.errors import Conflict
from understudy_footage import (
    UNREADABLE,
    FootageRoot,
    Manifest,
    ManifestEntry,
    files_of,
    hash_file,
    manifest_of_entries,
    parts_of,
)

log = structlog.get_logger()


class Manifests:
    """Hashes are kept as long as a file's size and time of change stay the same."""

    def __init__(self, data_dir: Path) -> None:
        self._data = FootageRoot(data_dir)
        self._known: dict[Path, tuple[int, int, str]] = {}
        self._making: dict[str, asyncio.Task[Manifest]] = {}
        self._hashing: set[asyncio.Task[None]] = set()

    def begin(self, failover: str) -> asyncio.Task[Manifest]:
        """The making of a failover's manifest; all who ask at the same time share one.

        The task raises Conflict while files are unfinished, OSError when the disk says no.
        """
        task = self._making.get(failover)
        if task is None:
            task = asyncio.create_task(asyncio.to_thread(self._make, failover), name=f"manifest {failover}")
            self._making[failover] = task
            task.add_done_callback(lambda _: self._making.pop(failover, None))
        return task

    async def of(self, failover: str) -> Manifest:
        """The manifest of a failover's folder; one that does not exist holds nothing.

        Raises:
            Conflict: files are unfinished.
            OSError: the disk said no.
        """
        return await asyncio.shield(self.begin(failover))

    def expect(self, path: Path) -> None:
        """A file is finished, and still in memory: hash it now, so that a manifest is there at once later."""
        task = asyncio.create_task(asyncio.to_thread(self._hash_quietly, path), name=f"hash {path.name}")
        self._hashing.add(task)
        task.add_done_callback(self._hashing.discard)

    def _hash_quietly(self, path: Path) -> None:
        try:
            self.hash_of(path)
        except OSError as error:
            log.debug("not hashed", file=path.name, error=error.strerror)

    def forget(self, failover: str) -> None:
        """The folder is gone."""
        folder = self._data.failover(failover).path
        self._known = {path: known for path, known in self._known.items() if not path.is_relative_to(folder)}

    def forget_hash(self, path: Path) -> None:
        """The file may not be any more what it was when it was hashed."""
        self._known.pop(path, None)

    def hash_of(self, path: Path) -> str:
        """BLAKE3 in hex of a file; for a thread.

        Raises:
            OSError: it cannot be read.
        """
        before = path.stat()
        known = self._known.get(path)
        if known is not None and known[:2] == (before.st_size, before.st_mtime_ns):
            return known[2]
        _, found = hash_file(path)
        self._known[path] = (before.st_size, before.st_mtime_ns, found)
        return found

    def _make(self, failover: str) -> Manifest:
        root = self._data.failover(failover)
        unfinished = parts_of(root)
        if unfinished:
            raise Conflict(
                f"{len(unfinished)} files of {failover} are unfinished, such as {unfinished[0].path.name}"
            )
        entries = [self._entry(root, path) for path in files_of(root)]
        return manifest_of_entries(entries)

    def _entry(self, root: FootageRoot, path: str) -> ManifestEntry:
        file = root.path / path
        size = file.stat().st_size
        try:
            return ManifestEntry(path, size, self.hash_of(file))
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            log.error("a file of footage cannot be read", file=str(file), error=error.strerror)
            return ManifestEntry(path, size, UNREADABLE)
