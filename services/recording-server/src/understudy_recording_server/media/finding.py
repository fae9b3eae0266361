"""What footage of a camera this machine holds in a period: its own, what came home, and that of failovers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from understudy_footage import (
    FootageRoot,
    InvalidFootageName,
    PartName,
    RecordingName,
    SnapshotName,
    UnsafePath,
    day_of,
)
from understudy_footage.names import RECORDINGS, SNAPSHOTS

LONGEST_FILE_MS = 86_400_000
"""No file of ours is longer; one that began before the day before cannot reach into a day."""
JOIN_MS = 1_000
"""Files that are no further apart are one span of a timeline."""


@dataclass(frozen=True, order=True)
class Clip:
    """A file of recordings on disk. `failover`: the one that it was made in. `name` is None while it is being
    written; then its end is the time of the last write."""

    start_ms: int
    end_ms: int
    path: Path
    size: int
    failover: str | None
    name: str | None


@dataclass(frozen=True)
class Span:
    """Footage without a break; times in UTC milliseconds."""

    start_ms: int
    end_ms: int
    failover: str | None


def clips_of(data: FootageRoot, camera: str, begin_ms: int, end_ms: int) -> list[Clip]:
    """The files that reach into a period, by start. For a thread: it asks the disk.

    Raises:
        OSError: a folder cannot be read.
    """
    found: list[Clip] = []
    for failover, root in _roots(data):
        for entry in _days(root.path / RECORDINGS / camera, begin_ms - LONGEST_FILE_MS, end_ms):
            clip = _clip(entry, failover)
            if clip is not None and clip.start_ms < end_ms and clip.end_ms > begin_ms:
                found.append(clip)
    return sorted(found, key=lambda clip: (clip.start_ms, clip.end_ms, str(clip.path)))


def snapshots_in(
    data: FootageRoot, camera: str, begin_ms: int, end_ms: int
) -> list[tuple[SnapshotName, int]]:
    """The snapshots of a period by time, each with its size in bytes. For a thread.

    Raises:
        OSError: a folder cannot be read.
    """
    found: list[tuple[SnapshotName, int]] = []
    for failover, root in _roots(data):
        for entry in _days(root.path / SNAPSHOTS / camera, begin_ms, end_ms):
            try:
                name = SnapshotName.parse(entry.name)
                if begin_ms <= name.time_ms < end_ms:
                    named = SnapshotName(name.time_ms, name.failover or failover)
                    found.append((named, entry.stat(follow_symlinks=False).st_size))
            except (InvalidFootageName, FileNotFoundError):
                continue
    return sorted(found, key=lambda one: (one[0].time_ms, one[0].file_name))


def file_of(data: FootageRoot, camera: str, name: RecordingName | SnapshotName) -> Path | None:
    """The file of this name, wherever on this machine it lies. For a thread.

    A name that tells its failover may be that of a file in the failover's own folder, too.
    """
    plain = (
        RecordingName(name.start_ms, name.duration_ms)
        if isinstance(name, RecordingName)
        else SnapshotName(name.time_ms)
    )
    for failover, root in _roots(data):
        wanted = [name] if failover is None or name.failover is None else []
        if failover is not None and failover == name.failover:
            wanted.append(plain)
        for one in wanted:
            try:
                path = root.join(str(one.path(camera)))
            except UnsafePath:
                continue
            if path.is_file():
                return path
    return None


def spans_of(clips: Sequence[Clip]) -> list[Span]:
    """The timeline that files make, by start. Overlaps (when one server takes over from another, both record)
    are one span; spans of different failovers are told apart."""
    spans: list[Span] = []
    for clip in clips:
        last = spans[-1] if spans else None
        if last and last.failover == clip.failover and clip.start_ms - last.end_ms <= JOIN_MS:
            spans[-1] = Span(last.start_ms, max(last.end_ms, clip.end_ms), last.failover)
        else:
            spans.append(Span(clip.start_ms, clip.end_ms, clip.failover))
    return spans


def _roots(data: FootageRoot) -> Iterator[tuple[str | None, FootageRoot]]:
    yield None, data
    for failover in reversed(data.failovers()):
        yield failover, data.failover(failover)


def _days(folder: Path, begin_ms: int, end_ms: int) -> Iterable[os.DirEntry[str]]:
    """The files in the folders of the days of a period. Symbolic links are passed over."""
    first, last = day_of(max(0, begin_ms)), day_of(max(0, end_ms))
    for day in _entries(folder):
        if first <= day.name <= last and day.is_dir(follow_symlinks=False):
            for entry in _entries(Path(day.path)):
                if entry.is_file(follow_symlinks=False):
                    yield entry


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _clip(entry: os.DirEntry[str], failover: str | None) -> Clip | None:
    try:
        if entry.name.endswith(".part"):
            start = PartName.parse(entry.name).start_ms
            found = entry.stat(follow_symlinks=False)
            end = max(start, found.st_mtime_ns // 1_000_000)
            return Clip(start, end, Path(entry.path), found.st_size, failover, None)
        name = RecordingName.parse(entry.name)
        made_in = name.failover or failover
        size = entry.stat(follow_symlinks=False).st_size
        return Clip(name.start_ms, name.end_ms, Path(entry.path), size, made_in, entry.name)
    except (InvalidFootageName, FileNotFoundError):
        return None  # Not ours, or retention was quicker.
