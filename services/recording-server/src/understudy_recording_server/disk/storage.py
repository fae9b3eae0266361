"""Whether the disk takes footage: asked beside the event loop, for a sick disk may not answer at all."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import structlog
from understudy_contracts.machine import CameraEvidence, Storage
from understudy_contracts.model import StorageState

from understudy_recording_server.disk.findings import Finding, degraded, summed_up
from understudy_recording_server.disk.mounts import Mount, mount_findings
from understudy_recording_server.disk.storage_state import (
    SILENT_S,
    Reading,
    reading_findings,
    recorder_findings,
    silence_findings,
)
from understudy_recording_server.disk.survey import read_mount, survey
from understudy_recording_server.own_thread import beside

PROBE_FILE = ".probe-storage"
INTERVAL_S = 1.0
SURVEY_EVERY_S = 60.0
ERRORS_SHOWN_S = 30.0
"""An error of writing stays evidence this long: a disk that fails now and then is not normal in between."""

log = structlog.get_logger()


def probe(folders: list[Path], devices: dict[Path, int]) -> Reading:
    """Write a small file through to each disk. May block for as long as one likes.

    The first folder counts, and each of the others that is a disk of its own. `devices` are those that the
    folders were on at first.
    """
    began = time.monotonic()
    worst = _probe(folders[0], devices)
    for folder in folders[1:]:
        # One that was a disk of its own and is none any more has been unmounted.
        if folder not in devices and not _is_another_disk(folder, folders[0]):
            continue
        reading = _probe(folder, devices)
        worse = reading.errno is not None or reading.moved or reading.free_bytes < worst.free_bytes
        if worst.errno is None and not worst.moved and worse:
            worst = reading
    return msgspec.structs.replace(worst, took_s=time.monotonic() - began)


def _is_another_disk(folder: Path, first: Path) -> bool:
    try:
        return folder.stat().st_dev != first.stat().st_dev
    except FileNotFoundError:
        return False  # Not there yet, or gone: that is seen elsewhere.
    except OSError:
        return True  # Whatever it is, it does not answer as a folder of the first disk would.


def _probe(folder: Path, devices: dict[Path, int]) -> Reading:
    reading = Reading()
    try:
        device = folder.stat().st_dev
        sizes = os.statvfs(folder)
        reading = Reading(
            sizes.f_blocks * sizes.f_frsize,
            sizes.f_bavail * sizes.f_frsize,
            sizes.f_favail if sizes.f_files else None,
            moved=devices.setdefault(folder, device) != device,
        )
        with _opened(folder / PROBE_FILE) as descriptor:
            os.write(descriptor, b"understudy" * 100)
            os.fsync(descriptor)
    except OSError as error:
        return msgspec.structs.replace(reading, errno=error.errno or errno.EIO)
    return reading


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class StorageWatch:
    """The last word on the storage; `changed` is called when its state becomes another.

    `folders` are the data folder and the places in it where footage is written, which may be disks of their
    own. `cameras` tells what the recorder sees.
    """

    def __init__(
        self,
        folders: list[Path],
        changed: Callable[[], None],
        cameras: Callable[[], list[CameraEvidence]] = list,
    ) -> None:
        self.storage = Storage()
        self._folders = folders
        self._changed = changed
        self._cameras = cameras
        self._devices: dict[Path, int] = {}
        self._reading = Reading()
        self._silence: list[Finding] = []
        self._mount: list[Finding] = []
        self._surveyed: list[Finding] = []
        self._recent: dict[str, tuple[float, Finding]] = {}

    async def run(self) -> None:
        """Read about once a second until cancelled."""
        surveying = asyncio.create_task(self._survey_often(), name="survey of disks")
        try:
            while True:
                await self.read()
                await asyncio.sleep(INTERVAL_S)
        finally:
            surveying.cancel()

    async def read(self) -> None:
        """Read once. While the disk does not answer, that is what is said of it."""
        began = time.monotonic()
        probing = beside(self._ask, "storage probe")
        # One thread that hangs is enough: the next reading begins when this one has ended.
        while not (await asyncio.wait({probing}, timeout=SILENT_S))[0]:
            self._silence = silence_findings(time.monotonic() - began)
            self.judge()
        self._silence = []
        self._reading, mount = probing.result()
        self._mount = mount_findings(mount)
        self.judge()

    def _ask(self) -> tuple[Reading, Mount | None]:
        return probe(self._folders, self._devices), read_mount(self._folders[0])

    def saw(self, reason: str) -> None:
        """Something happened to the footage that should not have; it is evidence for a while."""
        self._recent[reason] = (time.monotonic(), degraded(reason))
        self.judge()

    def judge(self) -> None:
        """Sum up all evidence there is now."""
        now = time.monotonic()
        for finding in recorder_findings(self._cameras()):
            # What is left of it when the cameras write again.
            self._recent["recorder"] = (
                now,
                degraded(f"within the last {ERRORS_SHOWN_S:g} s {finding.reason}"),
            )
        self._recent = {
            what: (at, finding) for what, (at, finding) in self._recent.items() if now - at < ERRORS_SHOWN_S
        }
        present = [
            *self._silence,
            *reading_findings(self._reading),
            *self._mount,
            *recorder_findings(self._cameras()),
            *self._surveyed,
        ]
        recent = [] if present else [finding for _, finding in self._recent.values()]
        state, reason = summed_up([*present, *recent])
        self._note(Storage(state, self._reading.total_bytes, self._reading.free_bytes, reason))

    def _note(self, storage: Storage) -> None:
        before, self.storage = self.storage, storage
        if before.state is storage.state:
            return
        if storage.state is StorageState.NORMAL:
            log.info("storage is normal again", before=before.state)
        else:
            log.warning("storage", state=storage.state, reason=storage.reason)
        self._changed()

    async def _survey_often(self) -> None:
        while True:
            self._surveyed = await beside(lambda: survey(self._folders), "survey of disks")
            self.judge()
            await asyncio.sleep(SURVEY_EVERY_S)
