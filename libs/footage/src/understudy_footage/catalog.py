"""What footage is here, held in memory: built from the files, kept up with what is told since.

It is a picture of the files and never more than that: nothing is removed because it is not in the catalog,
and a picture that could not be finished is no picture.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from understudy_footage.index import files_by_day, named, size_of
from understudy_footage.layout import FAILOVERS, FootageRoot
from understudy_footage.names import (
    RECORDINGS,
    SNAPSHOTS,
    FootagePath,
    InvalidFootageName,
    RecordingName,
    SnapshotName,
)

Finished = TypeVar("Finished", RecordingName, SnapshotName)


@dataclass(frozen=True, order=True, slots=True)
class Held:
    """A finished file. The order is by start, then path: the oldest comes first.

    `path` is relative to its root, times are UTC milliseconds, `size` is in bytes; `came_from` is the
    failover that it came home from.
    """

    start_ms: int
    path: str
    camera: str
    end_ms: int
    size: int
    came_from: str | None = None

    @classmethod
    def of(cls, path: FootagePath, size: int) -> Held:
        name = path.name
        return cls(name.start_ms, path.text, path.camera, name.end_ms, size, name.failover)


@dataclass
class Shelf:
    """The finished files of one root, oldest first."""

    files: list[Held] = field(default_factory=list)
    bytes: int = 0
    _at: dict[str, Held] = field(default_factory=dict)

    @classmethod
    def of(cls, files: Iterable[Held]) -> Shelf:
        ordered = sorted(files)
        return cls(ordered, sum(held.size for held in ordered), {held.path: held for held in ordered})

    def __len__(self) -> int:
        return len(self.files)

    def __contains__(self, path: object) -> bool:
        return path in self._at

    def add(self, held: Held) -> None:
        """Note a file; one that is noted already is replaced."""
        self.remove(held.path)
        insort(self.files, held)
        self._at[held.path] = held
        self.bytes += held.size

    def remove(self, path: str) -> None:
        """Note that a file is gone; nothing happens when it was not here."""
        held = self._at.pop(path, None)
        if held is not None:
            del self.files[bisect_left(self.files, held)]
            self.bytes -= held.size

    def cameras(self) -> set[str]:
        return {held.camera for held in self.files}


class Catalog:
    """The shelves of a data folder: `""` is its own footage, `"failovers/f-12"` that of a failover."""

    def __init__(self, shelves: dict[str, Shelf] | None = None) -> None:
        self._shelves = shelves or {}

    @classmethod
    def build(cls, data: FootageRoot) -> Catalog:
        """Read the names of all files. 100,000 files take about a second (benchmarks/index.py).

        Raises:
            OSError: a folder cannot be read; there is no catalog then.
        """
        folders = ["", *(f"{FAILOVERS}/{failover}" for failover in data.failovers())]
        return cls({folder: Shelf.of(held_in(data.folder(folder))) for folder in folders})

    @property
    def folders(self) -> list[str]:
        return sorted(self._shelves)

    @property
    def files(self) -> int:
        return sum(len(shelf) for shelf in self._shelves.values())

    @property
    def bytes(self) -> int:
        return sum(shelf.bytes for shelf in self._shelves.values())

    def shelf(self, folder: str) -> Shelf:
        """The files of a folder; an empty shelf when there are none."""
        return self._shelves.setdefault(folder, Shelf())

    def note(self, path: str, size: int) -> None:
        """A file is finished. `path` is relative to the data folder.

        Raises:
            InvalidFootageName: it is no footage of ours.
        """
        folder, within = split_folder(path)
        self.shelf(folder).add(Held.of(FootagePath.parse(within), size))

    def forget(self, path: str) -> None:
        """A file is gone. `path` is relative to the data folder."""
        folder, within = split_folder(path)
        if folder in self._shelves:
            self._shelves[folder].remove(within)

    def forget_folder(self, folder: str) -> None:
        self._shelves.pop(folder, None)

    def entries(self) -> dict[str, int]:
        """The size of every file, by its path relative to the data folder."""
        return {
            f"{folder}/{held.path}" if folder else held.path: held.size
            for folder, shelf in self._shelves.items()
            for held in shelf.files
        }


def held_in(root: FootageRoot) -> Iterator[Held]:
    """The finished files of a root, in no order: the same that `recordings_of` and `snapshots_of` find.

    Raises:
        OSError: a folder cannot be read.
    """
    yield from _held(root.recordings, RECORDINGS, RecordingName)
    yield from _held(root.snapshots, SNAPSHOTS, SnapshotName)


def _held(folder: Path, place: str, kind: type[Finished]) -> Iterator[Held]:
    for camera, day, entry in files_by_day(folder):
        name = named(kind, day, entry)
        size = size_of(entry) if name is not None else None
        if name is not None and size is not None:
            # The path is put together here and not by FootagePath: this runs for every file at the start.
            path = f"{place}/{camera}/{day}/{entry.name}"
            yield Held(name.start_ms, path, camera, name.end_ms, size, name.failover)


def split_folder(path: str) -> tuple[str, str]:
    """`failovers/f-12/recordings/...` into `failovers/f-12` and the rest; the folder of all others is `""`.

    Raises:
        InvalidFootageName: a path of `failovers` that names none.
    """
    if not path.startswith(f"{FAILOVERS}/"):
        return "", path
    parts = path.split("/", 2)
    if len(parts) != 3:
        raise InvalidFootageName(f"{path[:120]!r} names no footage of a failover")
    return f"{parts[0]}/{parts[1]}", parts[2]
