"""What the servers' files show: read from disk, after the fact and while it happens."""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
from understudy_footage import (
    FootageRoot,
    InvalidFootageName,
    PartName,
    RecordingName,
    hash_file,
    parts_of,
    recordings_of,
)
from understudy_lab.frames import FrameMark, find_gaps, read_frames

from understudy_cli.demo.report import CameraFootage, Homecoming


@dataclass(frozen=True)
class Inspection:
    """All finished files of all machines. The lists name files below the folder of the machines."""

    footage: dict[str, CameraFootage]
    unreadable: list[str]
    unfinished: list[str]


def inspect(machines: list[Path], fps: float) -> Inspection:
    """Read every recording of these machines' data folders from the first to the last frame.

    Raises:
        ValueError: frames of two runs of a camera are mixed.
    """
    frames: dict[str, list[FrameMark]] = defaultdict(list)
    unreadable: list[str] = []
    unfinished: list[str] = []
    for machine in machines:
        for root in _roots(machine):
            unfinished.extend(str(part.path.relative_to(machine.parent)) for part in parts_of(root))
            for camera, recordings in recordings_of(root).items():
                for recording in recordings:
                    path = root.recording(camera, recording.name)
                    if problem := problem_with(path):
                        unreadable.append(f"{path.relative_to(machine.parent)} ({problem})")
                    for frame in read_frames(path):
                        frames[frame.camera].append(frame)
    footage = {}
    for camera, seen in frames.items():
        captured = [frame.captured_ms for frame in seen]
        footage[camera] = CameraFootage(find_gaps(seen, fps)[camera], min(captured), max(captured))
    return Inspection(footage, unreadable, unfinished)


def problem_with(path: Path) -> str:
    """Why a video file does not play to its end; empty if it does."""
    try:
        with av.open(f"file:{path}", "r", format="mp4") as container:
            count = sum(1 for packet in container.demux(container.streams.video[0]) if packet.size)
    except (av.error.FFmpegError, IndexError, OSError) as error:
        return str(error) or type(error).__name__
    return "" if count else "no frame"


def is_clean(machine: Path) -> bool:
    """Whether a failover server holds nothing of any failover."""
    folder = machine / "failovers"
    try:
        return not any(folder.iterdir())
    except FileNotFoundError:
        return True


class Keepsakes:
    """What a failover server holds of one failover, kept by hard links until it has been compared.

    The footage of a short failover is brought home and cleared in less time than it takes to hash it; with a
    second name each file stays as it was when its server removes it, and costs no copy.
    """

    def __init__(self, source: FootageRoot, folder: Path) -> None:
        self._source = source
        self._folder = folder
        self._kept: dict[int, Path] = {}
        self._starts: dict[int, tuple[str, int]] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def keep(self) -> None:
        """Link what is new. Call it again and again while the failover goes on."""
        for camera, entry in _footage_files(self._source):
            with contextlib.suppress(
                OSError
            ):  # renamed or removed under our hands: seen again, or seen before
                inode = entry.stat(follow_symlinks=False).st_ino
                if inode not in self._kept:
                    kept = self._folder / str(inode)
                    os.link(entry.path, kept, follow_symlinks=False)
                    self._kept[inode] = kept
                    if (start := _start_of(entry.name)) is not None:
                        self._starts[inode] = (camera, start)

    def first_key_frames(self) -> dict[str, int]:
        """When each camera's first key frame was on this disk, UTC milliseconds, told from the files.

        A file begins with a key frame; it was there no earlier than the camera took it, and no earlier than
        the file's name says that it was begun.
        """
        found: dict[str, int] = {}
        for inode, (camera, start) in sorted(self._starts.items(), key=lambda item: item[1]):
            if camera not in found:
                key = next((frame for frame in read_frames(self._kept[inode]) if frame.is_key), None)
                if key is not None:
                    found[camera] = max(key.captured_ms, start)
        return found

    def compare(self, home: FootageRoot) -> Homecoming:
        """How many of the kept files are at home with the same hash. A file without a whole frame (begun,
        and given up at once) is no footage."""
        at_home = {
            hash_file(home.recording(camera, recording.name))
            for camera, recordings in recordings_of(home).items()
            for recording in recordings
            if recording.name.failover is not None
        }
        footage = [path for inode, path in self._kept.items() if inode in self._starts and read_frames(path)]
        return Homecoming(files=len(footage), found=sum(1 for path in footage if hash_file(path) in at_home))

    def forget(self) -> None:
        for path in self._kept.values():
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._folder.rmdir()


def _roots(machine: Path) -> list[FootageRoot]:
    data = FootageRoot(machine)
    return [data, *(data.failover(failover) for failover in data.failovers())]


def _footage_files(root: FootageRoot) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with contextlib.suppress(OSError):
        for camera in sorted(root.recordings.iterdir()):
            for day in sorted(camera.iterdir()):
                with os.scandir(day) as entries:
                    for entry in entries:
                        if entry.is_file(follow_symlinks=False):
                            yield camera.name, entry


def _start_of(file_name: str) -> int | None:
    for kind in (RecordingName, PartName):
        with contextlib.suppress(InvalidFootageName):
            return kind.parse(file_name).start_ms
    return None
