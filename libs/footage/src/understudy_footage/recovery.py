"""After a crash: what was being written becomes finished recordings, up to their last whole fragment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from understudy_footage.fragments import whole_part_of_file
from understudy_footage.index import Part
from understudy_footage.layout import FootageRoot, finish_file, fsync_folder
from understudy_footage.names import MAXIMUM_DURATION_MS, RecordingName


@dataclass(frozen=True)
class Recovered:
    """What became of an unfinished file. `path` is None when it held no footage and was removed.

    `kept_bytes` and `cut_bytes` add up to the size that the crash had left.
    """

    camera: str
    start_ms: int
    duration_ms: int
    path: Path | None
    kept_bytes: int
    cut_bytes: int


def recover(root: FootageRoot, part: Part, *, anew: bool = False, despite_errors: bool = False) -> Recovered:
    """Finish one unfinished recording that nobody writes any more; `anew` as in `finish_file`,
    `despite_errors` as in `whole_part_of_file`.

    It is cut after its last whole fragment and gets its final name; without one whole fragment that holds a
    frame it is removed, for it holds no footage. Safe to repeat after a crash at any point.

    Raises:
        LostWrites: its content is not on the disk, and it must be written anew.
        OSError: the disk said no; the file is left as it is.
    """
    with part.path.open("rb") as file:
        size, whole = whole_part_of_file(file.fileno(), despite_errors=despite_errors)
    if whole is None:
        part.path.unlink()
        fsync_folder(part.path.parent)
        return Recovered(part.camera, part.name.start_ms, 0, None, 0, size)
    if whole.length < size:
        os.truncate(part.path, whole.length)
    duration_ms = min(whole.duration_ms, MAXIMUM_DURATION_MS)
    name = root.free_name(part.camera, RecordingName(part.name.start_ms, duration_ms))
    final = root.recording(part.camera, name)
    finish_file(part.path, final, anew=anew)
    return Recovered(part.camera, name.start_ms, duration_ms, final, whole.length, size - whole.length)
