"""Removing files of footage, and noticing that somebody else did. Everything here may block: for threads."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import structlog
from understudy_footage import FootageRoot, UnsafePath, copies_of

log = structlog.get_logger()

YOUNG_DAYS = 2
"""Day folders stay this long although they are empty: a recorder may be about to write there."""

_OF_ONE_FILE = (PermissionError, IsADirectoryError, NotADirectoryError, UnsafePath)

Days = dict[str, tuple[int, int, frozenset[str]]]
"""By camera folder: inode, time of change in ns, and the days in it."""


def remove_left_copies(data: FootageRoot, before_s: float) -> None:
    """Remove what a crash in the midst of copying has left: what was to be copied has its old name still.
    `before_s`, in UTC seconds, tells it from a copy that is being made.

    Raises:
        OSError: the disk said no.
    """
    for root in [data, *(data.failover(failover) for failover in data.failovers())]:
        for path in copies_of(root):
            if path.stat().st_mtime < before_s:
                path.unlink()
                log.info("removed a copy that was not finished", file=path.name)


class Removed(msgspec.Struct, frozen=True):
    """What came of removing files: the paths that are gone, those that cannot be removed though others can,
    and what went wrong with the first."""

    gone: list[str]
    refused: list[str] = []
    trouble: str = ""
    is_sick: bool = False


def remove_files(root: FootageRoot, paths: Iterable[str], now_ms: int) -> Removed:
    """Remove footage, and the folders of past days that become empty.

    A file that is protected, or no file any more, keeps no other from going; after an error of the disk
    (`is_sick`) nothing more is tried.
    """
    gone: list[str] = []
    refused: list[str] = []
    trouble = ""
    is_sick = False
    for path in paths:
        try:
            root.join(path).unlink(missing_ok=True)
        except (OSError, UnsafePath) as error:
            is_sick = not isinstance(error, _OF_ONE_FILE)
            trouble = trouble or f"{path} cannot be removed: {getattr(error, 'strerror', None) or error}"
            if is_sick:
                break
            refused.append(path)
            continue
        gone.append(path)
    young = (datetime.fromtimestamp(now_ms / 1000, UTC) - timedelta(days=YOUNG_DAYS)).strftime("%Y-%m-%d")
    for folder in {(root.path / path).parent for path in gone}:
        if folder.name < young:
            # Not empty, in the common case.
            with contextlib.suppress(OSError):
                folder.rmdir()
    return Removed(gone, refused, trouble, is_sick)


def look(places: Iterable[Path], before: Days) -> tuple[Days, list[str]]:
    """The days that each camera has in these places, and the folders that were there `before` and are not.

    A folder that has not changed is not read again, so that this is cheap enough for every second.
    """
    now: Days = {}
    for place in places:
        try:
            with os.scandir(place) as cameras:
                for camera in cameras:
                    now.update(_camera(camera, before))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            # What cannot be read at present is not lost.
            now.update({path: days for path, days in before.items() if Path(path).parent == place})
    lost: list[str] = []
    for path, (inode, _, days) in before.items():
        if path not in now or now[path][0] != inode:
            lost.append(path)
        else:
            lost.extend(f"{path}/{day}" for day in days - now[path][2])
    return now, sorted(lost)


def _camera(camera: os.DirEntry[str], before: Days) -> Days:
    known = before.get(camera.path)
    try:
        return {camera.path: _days(camera, known)} if camera.is_dir(follow_symlinks=False) else {}
    except FileNotFoundError:
        return {}
    except OSError:
        return {camera.path: known} if known is not None else {}


def _days(
    camera: os.DirEntry[str], known: tuple[int, int, frozenset[str]] | None
) -> tuple[int, int, frozenset[str]]:
    status = camera.stat(follow_symlinks=False)
    if known is not None and known[:2] == (status.st_ino, status.st_mtime_ns):
        return known
    with os.scandir(camera.path) as days:
        names = frozenset(day.name for day in days if day.is_dir(follow_symlinks=False))
    return status.st_ino, status.st_mtime_ns, names
