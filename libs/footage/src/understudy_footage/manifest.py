"""The list of a root's finished files with their hashes, and one digest over it.

The source of a restoration makes it, the target verifies each file against it, and the source clears its
folder only against the digest that the target has verified (promise P10).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
from blake3 import blake3

from understudy_footage.index import recordings_of, snapshots_of
from understudy_footage.layout import FootageRoot

READ_BYTES = 1 << 20
UNREADABLE = ""
"""In the place of a hash: the disk does not give the file out any more."""


class ManifestEntry(msgspec.Struct, frozen=True, order=True):
    """One finished file: `path` relative to the root with `/`, `size` in bytes, `blake3` in hex, or
    `UNREADABLE`: such a file cannot come home, and is named, so that all others can."""

    path: str
    size: int
    blake3: str


class Manifest(msgspec.Struct, frozen=True):
    """All finished files of a root, sorted by path, and the digest over that list."""

    entries: list[ManifestEntry]
    digest: str

    @property
    def total_bytes(self) -> int:
        return sum(entry.size for entry in self.entries)


def hash_file(path: Path) -> tuple[int, str]:
    """Size in bytes and BLAKE3 in hex of a file, read once, as a stream.

    Raises:
        OSError: it cannot be read.
    """
    hasher = blake3()
    size = 0
    buffer = bytearray(READ_BYTES)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            hasher.update(view[:count])
            size += count
    return size, hasher.hexdigest()


def digest_of(entries: Iterable[ManifestEntry]) -> str:
    """BLAKE3 in hex over the sorted list. Names hold no line break, so that a line is one entry."""
    hasher = blake3()
    for entry in sorted(entries):
        hasher.update(f"{entry.blake3} {entry.size} {entry.path}\n".encode())
    return hasher.hexdigest()


def manifest_of_entries(entries: Iterable[ManifestEntry]) -> Manifest:
    """The manifest of these entries, in its order."""
    ordered = sorted(entries)
    return Manifest(ordered, digest_of(ordered))


def files_of(root: FootageRoot) -> list[str]:
    """The relative paths of all finished files, sorted, without reading them.

    Raises:
        OSError: a folder cannot be read.
    """
    recordings = [found.path.text for group in recordings_of(root).values() for found in group]
    snapshots = [found.path.text for group in snapshots_of(root).values() for found in group]
    return sorted(recordings + snapshots)


def manifest_of(root: FootageRoot) -> Manifest:
    """Read and hash every finished file of a root. A root that does not exist has none.

    Raises:
        OSError: a file cannot be read.
    """
    return manifest_of_entries(ManifestEntry(path, *hash_file(root.path / path)) for path in files_of(root))
