"""Compares what the index says with what lies on the disk: `python -m understudy_footage.check DATA_DIR`.

It reads and never changes anything. It walks the folders in its own way, by whole paths, so that a mistake of
the index cannot hide itself. With a recorder at work, files that are being written are no difference.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from understudy_contracts.errors import InvalidInput

from understudy_footage.catalog import Catalog, split_folder
from understudy_footage.index import size_of
from understudy_footage.layout import FAILOVERS, FootageRoot
from understudy_footage.names import (
    PART_SUFFIX,
    RECORDINGS,
    SNAPSHOTS,
    FootagePath,
    PartName,
    RecordingName,
)

PROBE_PREFIX = ".probe-"
"""What a recorder writes, and removes at once, to see whether it can write at all."""
DIFFERENCES = 1
USAGE = 2


@dataclass(frozen=True)
class Difference:
    """Something that is not as it should be. `path` is relative to the data folder."""

    path: str
    what: str

    def __str__(self) -> str:
        # A hostile name must not play with the terminal.
        return f"{self.path.encode('unicode_escape').decode('ascii')}: {self.what}"


def check(data: FootageRoot, catalog: Catalog, *, recording: bool = True) -> list[Difference]:
    """Where `catalog` and the files of a data folder differ, and names that do not belong there.

    `recording` says that a recorder may be at work: then unfinished files are as they should be.

    Raises:
        OSError: a folder cannot be read.
    """
    found: list[Difference] = []
    on_disk: dict[str, int] = {}
    for path, entry in _files(data.path):
        wrong = _wrong_name(path, entry, recording=recording)
        if wrong is not None:
            found.append(Difference(path, wrong))
        elif not path.endswith(PART_SUFFIX):
            size = size_of(entry)
            if size is not None:
                on_disk[path] = size
    indexed = catalog.entries()
    unknown, gone = on_disk.keys() - indexed.keys(), indexed.keys() - on_disk.keys()
    found.extend(Difference(path, "is on the disk and not in the index") for path in unknown)
    found.extend(Difference(path, "is in the index and not on the disk") for path in gone)
    for path in on_disk.keys() & indexed.keys():
        if on_disk[path] != indexed[path]:
            found.append(Difference(path, f"has {on_disk[path]} bytes, in the index {indexed[path]}"))
        elif on_disk[path] == 0:
            found.append(Difference(path, "is empty"))
    found.extend(overlaps(on_disk))
    return sorted(found, key=lambda difference: (difference.path, difference.what))


def overlaps(paths: Iterable[str]) -> Iterator[Difference]:
    """Recordings of one camera, made by one server, that cover the same time.

    What came home from a failover may overlap what the original recorded: make before break is meant so.
    """
    by_camera: dict[tuple[str, str, str | None], list[tuple[RecordingName, str]]] = {}
    for path in paths:
        folder, within = split_folder(path)
        parsed = FootagePath.parse(within)
        if isinstance(parsed.name, RecordingName):
            key = (folder, parsed.camera, parsed.name.failover)
            by_camera.setdefault(key, []).append((parsed.name, path))
    for recordings in by_camera.values():
        recordings.sort(key=lambda each: (each[0].start_ms, each[0].end_ms))
        reach, holder = -1, ""
        for name, path in recordings:
            if name.start_ms < reach:
                yield Difference(path, f"overlaps {holder} by {min(reach, name.end_ms) - name.start_ms} ms")
            if name.end_ms > reach:
                reach, holder = name.end_ms, path


def _files(data: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Everything in the places for footage that is no folder; a link to a folder is none either."""
    places = [data / name for name in (RECORDINGS, SNAPSHOTS)]
    failovers = data / FAILOVERS
    if failovers.is_dir():
        # What begins with a dot there is about to be removed.
        places += [path for path in failovers.iterdir() if not path.name.startswith(".")]
    waiting = [place for place in places if place.is_dir() and not place.is_symlink()]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                elif not entry.name.startswith(PROBE_PREFIX):
                    yield os.path.relpath(entry.path, data), entry


def _wrong_name(path: str, entry: os.DirEntry[str], *, recording: bool) -> str | None:
    if not entry.is_file(follow_symlinks=False):
        return "is no regular file"
    try:
        folder, within = split_folder(path)
        FootageRoot(Path()).folder(folder)
        if not within.endswith(PART_SUFFIX):
            FootagePath.parse(within)
            return None
        place, camera, _, name = within.split("/")
        part = PartName.parse(name)
        if place != RECORDINGS or str(part.path(camera)) != within:
            return "is an unfinished file in a place where none is written"
    except (InvalidInput, ValueError) as error:
        return error.message if isinstance(error, InvalidInput) else "is not where footage lies"
    return None if recording else "was never finished"


def main(arguments: list[str] | None = None) -> int:
    """Print the differences, one a line; 0 when there are none, 1 when there are, 2 when it cannot look."""
    parser = argparse.ArgumentParser(
        prog="python -m understudy_footage.check", description="Compare the index with the files."
    )
    parser.add_argument("data_dir", type=Path, metavar="DATA_DIR")
    parser.add_argument("--stopped", action="store_true", help="no recorder runs: name unfinished files too")
    options = parser.parse_args(arguments)
    data = FootageRoot(options.data_dir)
    if not data.path.is_dir():
        sys.stderr.write(f"{data.path} is no folder: give the data folder of a recording server\n")
        return USAGE
    try:
        catalog = Catalog.build(data)
        differences = check(data, catalog, recording=not options.stopped)
        if differences and not options.stopped:
            # What was finished or removed between the two looks is no difference: it does not come twice.
            catalog = Catalog.build(data)
            again = set(check(data, catalog))
            differences = [difference for difference in differences if difference in again]
    except OSError as error:
        sys.stderr.write(f"cannot read {error.filename or data.path}: {error.strerror}\n")
        return USAGE
    for difference in differences:
        sys.stdout.write(f"{difference}\n")
    sys.stdout.write(f"{catalog.files} files, {catalog.bytes} bytes, {len(differences)} differences\n")
    return DIFFERENCES if differences else 0


if __name__ == "__main__":
    sys.exit(main())
