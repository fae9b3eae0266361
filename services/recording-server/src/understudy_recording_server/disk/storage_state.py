"""What the evidence about the storage amounts to: normal, degraded, damaged or full, and why. Pure."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

import msgspec
from understudy_contracts.machine import CameraEvidence
from understudy_contracts.model import CameraState

from understudy_recording_server.disk.findings import Finding, damaged, degraded, full
from understudy_recording_server.recorder.recording import CANNOT_WRITE

SMALLEST_RESERVE_SHARE = 0.02
RESERVE_BYTES = 512 << 20
"""Full is when less than this is free: of small disks 2 %, of large ones half a gigabyte."""
FEW_INODES = 64
SLOW_S = 2.5
"""A small write that takes longer has waited for a sick or swamped disk."""
SILENT_S = 4.0
DEAD_S = 10.0
_FULL = {errno.ENOSPC, errno.EDQUOT}
_FULL_TEXTS = tuple(os.strerror(number) for number in _FULL)
_PLAIN = {
    errno.EROFS: "the data folder is read-only",
    errno.ENOENT: "the data folder is gone",
    errno.EIO: "the disk of the data folder has errors",
}


class Reading(msgspec.Struct, frozen=True):
    """One small write through to the disk: sizes in bytes, how long it took, and what went wrong.

    `moved` says that the folder is on another file system than when the agent started.
    """

    total_bytes: int = 0
    free_bytes: int = 0
    free_inodes: int | None = None
    took_s: float = 0.0
    errno: int | None = None
    moved: bool = False


def reserve(total_bytes: int) -> int:
    """How much must be free on a disk of this size, in bytes, that it is not full."""
    return int(min(RESERVE_BYTES, total_bytes * SMALLEST_RESERVE_SHARE))


def reading_findings(reading: Reading) -> list[Finding]:
    """What one reading says."""
    findings: list[Finding] = []
    if reading.moved:
        findings.append(damaged("the data folder is on another file system than before: was it unmounted?"))
    if reading.errno is not None and reading.errno not in _FULL:
        plain = _PLAIN.get(reading.errno)
        findings.append(damaged(plain or f"the data folder cannot be written: {os.strerror(reading.errno)}"))
        return findings
    if reading.errno in _FULL or reading.free_bytes < reserve(reading.total_bytes):
        findings.append(
            full(f"the disk is full: {_shown(reading.free_bytes)} of {_shown(reading.total_bytes)} are free")
        )
    elif reading.free_inodes is not None and reading.free_inodes < FEW_INODES:
        findings.append(full(f"the disk takes {reading.free_inodes} more files only"))
    if reading.took_s > SLOW_S:
        findings.append(degraded(f"a small write took {reading.took_s:.1f} s"))
    return findings


def silence_findings(waited_s: float) -> list[Finding]:
    """What it means that the disk has not answered for so long."""
    if waited_s < SILENT_S:
        return []
    reason = f"the disk has not answered for {waited_s:.0f} s"
    return [damaged(reason) if waited_s >= DEAD_S else degraded(reason)]


def recorder_findings(cameras: Iterable[CameraEvidence]) -> list[Finding]:
    """What the recorder says of its writing: it sees errors that a small write beside it may not meet."""
    writing = [camera for camera in cameras if camera.state in {CameraState.RECORDING, CameraState.FAILED}]
    failed = [
        camera
        for camera in writing
        if camera.state is CameraState.FAILED and camera.reason.startswith(CANNOT_WRITE)
    ]
    if not failed:
        return []
    what = failed[0].reason.removeprefix(CANNOT_WRITE)
    reason = f"{len(failed)} of {len(writing)} cameras cannot be written: {what}"
    if what in _FULL_TEXTS:
        return [full(reason)]
    return [damaged(reason) if len(failed) == len(writing) else degraded(reason)]


def _shown(size: int) -> str:
    for unit, power in (("TB", 12), ("GB", 9), ("MB", 6)):
        if size >= 10**power:
            return f"{size / 10**power:.1f} {unit}"
    return f"{size / 1000:.0f} kB"
