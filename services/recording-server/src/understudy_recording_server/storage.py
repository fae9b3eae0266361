"""Whether the disk takes footage: measured beside the event loop, for a sick disk may not answer at all."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
from understudy_contracts.machine import Storage
from understudy_contracts.model import StorageState

PROBE_FILE = ".storage-probe"
INTERVAL_S = 1.0
TIME_LIMIT_S = 5.0
MEASURE_EVERY_S = 10.0
RESERVE_BYTES = 512 << 20
RESERVE_SHARE = 0.02
"""Full is when less than this is free: of small disks 2 %, of large ones half a gigabyte."""

_FULL = {errno.ENOSPC, errno.EDQUOT}


def judge(total_bytes: int, free_bytes: int, failure: OSError | None) -> Storage:
    """What measured sizes and the outcome of a probing write mean. Sizes in bytes."""
    if failure is not None and failure.errno not in _FULL:
        reason = f"the data folder cannot be written: {failure.strerror or failure}"
        return Storage(StorageState.DAMAGED, total_bytes, free_bytes, reason)
    if failure is not None or free_bytes < min(RESERVE_BYTES, total_bytes * RESERVE_SHARE):
        return Storage(StorageState.FULL, total_bytes, free_bytes, f"{free_bytes} bytes are free")
    return Storage(StorageState.NORMAL, total_bytes, free_bytes)


def probe(data_dir: Path) -> Storage:
    """Measure, and write a small file through to the disk. May block for as long as the disk likes."""
    total, free = 0, 0
    try:
        sizes = os.statvfs(data_dir)
        total, free = sizes.f_blocks * sizes.f_frsize, sizes.f_bavail * sizes.f_frsize
        descriptor = os.open(
            data_dir / PROBE_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600
        )
        try:
            os.write(descriptor, b"understudy" * 100)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        return judge(total, free, error)
    return judge(total, free, None)


def footage_bytes(folders: list[Path]) -> int:
    """How much lies in these folders; what vanishes meanwhile does not count."""
    total = 0
    waiting = [str(folder) for folder in folders]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        total += entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue
    return total


class StorageWatch:
    """The last reading; `changed` is called when the state becomes another."""

    def __init__(self, data_dir: Path, footage: list[Path], changed: Callable[[], None]) -> None:
        self.storage = Storage()
        self.footage_bytes = 0
        self._data_dir = data_dir
        self._footage = footage
        self._changed = changed

    async def run(self) -> None:
        """Read about once a second until cancelled."""
        measuring = asyncio.create_task(self._measure_often())
        try:
            while True:
                await self.read()
                await asyncio.sleep(INTERVAL_S)
        finally:
            measuring.cancel()

    async def read(self) -> None:
        """Read once, waiting at most TIME_LIMIT_S for the disk before it is called damaged."""
        probing = asyncio.create_task(asyncio.to_thread(probe, self._data_dir))
        done, _ = await asyncio.wait({probing}, timeout=TIME_LIMIT_S)
        if not done:
            reason = f"the disk has not answered for {TIME_LIMIT_S:g} s"
            self._note(msgspec.structs.replace(self.storage, state=StorageState.DAMAGED, reason=reason))
        # One thread that hangs is enough: the next reading begins when this one has ended.
        self._note(await probing)

    def _note(self, storage: Storage) -> None:
        news = storage.state is not self.storage.state
        self.storage = storage
        if news:
            self._changed()

    async def _measure_often(self) -> None:
        while True:
            await self.measure()
            await asyncio.sleep(MEASURE_EVERY_S)

    async def measure(self) -> None:
        """Add up the footage that is here."""
        self.footage_bytes = await asyncio.to_thread(footage_bytes, self._footage)
