"""What footage a root holds, told from the names of its files alone. Nothing here ever deletes.

Files that are no footage of ours are passed over, and so are symbolic links.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from understudy_contracts.ids import is_id

from understudy_footage.layout import COPY_PREFIX, FootageRoot
from understudy_footage.names import (
    FootagePath,
    InvalidFootageName,
    PartName,
    RecordingName,
    SnapshotName,
    day_of,
)

Name = TypeVar("Name", RecordingName, SnapshotName, PartName)
_Kind = type[RecordingName] | type[SnapshotName] | type[PartName]


@dataclass(frozen=True)
class Recording:
    """A finished recording on disk. `size` in bytes."""

    camera: str
    name: RecordingName
    size: int

    @property
    def path(self) -> FootagePath:
        return FootagePath(self.camera, self.name)


@dataclass(frozen=True)
class Snapshot:
    """A snapshot on disk. `size` in bytes."""

    camera: str
    name: SnapshotName
    size: int

    @property
    def path(self) -> FootagePath:
        return FootagePath(self.camera, self.name)


@dataclass(frozen=True)
class Part:
    """A recording that has not been finished."""

    camera: str
    name: PartName
    path: Path


def recordings_of(root: FootageRoot) -> dict[str, list[Recording]]:
    """The finished recordings of each camera, sorted by start.

    Raises:
        OSError: a folder cannot be read.
    """
    index: dict[str, list[Recording]] = {}
    for camera, day, entry in files_by_day(root.recordings):
        name = named(RecordingName, day, entry)
        size = size_of(entry) if name is not None else None
        if name is not None and size is not None:
            index.setdefault(camera, []).append(Recording(camera, name, size))
    for recordings in index.values():
        recordings.sort(key=lambda found: (found.name.start_ms, found.name.duration_ms, found.name.file_name))
    return dict(sorted(index.items()))


def snapshots_of(root: FootageRoot) -> dict[str, list[Snapshot]]:
    """The snapshots of each camera, sorted by time.

    Raises:
        OSError: a folder cannot be read.
    """
    index: dict[str, list[Snapshot]] = {}
    for camera, day, entry in files_by_day(root.snapshots):
        name = named(SnapshotName, day, entry)
        size = size_of(entry) if name is not None else None
        if name is not None and size is not None:
            index.setdefault(camera, []).append(Snapshot(camera, name, size))
    for snapshots in index.values():
        snapshots.sort(key=lambda found: (found.name.time_ms, found.name.file_name))
    return dict(sorted(index.items()))


def parts_of(root: FootageRoot) -> list[Part]:
    """The unfinished recordings: those being written now, and those that a crash left.

    Raises:
        OSError: a folder cannot be read.
    """
    parts: list[Part] = []
    for camera, day, entry in files_by_day(root.recordings):
        name = named(PartName, day, entry)
        if name is not None:
            parts.append(Part(camera, name, Path(entry.path)))
    return sorted(parts, key=lambda part: (part.camera, part.name.start_ms))


def copies_of(root: FootageRoot) -> list[Path]:
    """Files that are being copied to their names now, and those that a crash left.

    Raises:
        OSError: a folder cannot be read.
    """
    kinds: list[tuple[Path, tuple[_Kind, ...]]] = [
        (root.recordings, (RecordingName, PartName)),
        (root.snapshots, (SnapshotName,)),
    ]
    return [
        Path(entry.path)
        for place, names in kinds
        for _, _, entry in files_by_day(place)
        if entry.name.startswith(COPY_PREFIX)
        and any(_is_name(kind, entry.name.removeprefix(COPY_PREFIX)) for kind in names)
    ]


def _is_name(kind: _Kind, name: str) -> bool:
    try:
        kind.parse(name)
    except InvalidFootageName:
        return False
    return True


def named(kind: type[Name], day: str, entry: os.DirEntry[str]) -> Name | None:
    """The name that a file in a day's folder has; None if it is no such file, or of another day."""
    try:
        name = kind.parse(entry.name)
    except InvalidFootageName:
        return None
    return name if day == day_of(name.start_ms) else None


def files_by_day(place: Path) -> Iterator[tuple[str, str, os.DirEntry[str]]]:
    """Each file two folders below `place`, with the camera and the day whose folders it is in."""
    for camera in _folders(place):
        if is_id(camera.name):
            for day in _folders(Path(camera.path)):
                # Days that become empty are removed while others look.
                with suppress(FileNotFoundError), os.scandir(day.path) as entries:
                    for entry in entries:
                        if entry.is_file(follow_symlinks=False):
                            yield camera.name, day.name, entry


def size_of(entry: os.DirEntry[str]) -> int | None:
    """Its size in bytes; None if it has been removed since it was found.

    Raises:
        OSError: the disk said no.
    """
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return None


def _folders(place: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(place) as entries:
            return [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
