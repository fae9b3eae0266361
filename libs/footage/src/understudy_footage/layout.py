"""Where footage lies in a data folder, and how a file becomes durable there.

A data folder is a footage root, and so is each `failovers/f-12` in it. Only this product writes in it; the
checks below are against hostile names from outside, not against somebody with a shell on the machine.
"""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from understudy_contracts.errors import InvalidId, InvalidInput
from understudy_contracts.ids import epoch_of

from understudy_footage.names import RECORDINGS, SNAPSHOTS, PartName, RecordingName, SnapshotName

if TYPE_CHECKING:
    from collections.abc import Iterator

FAILOVERS = "failovers"
INCOMING = "incoming"
COPY_PREFIX = "."
"""Of a file that is being copied: a crash may leave it."""

MAXIMUM_NAME_BYTES = 255
"""What common Linux file systems allow for one name (limits.h, NAME_MAX)."""
MAXIMUM_PATH_BYTES = 1024


class UnsafePath(InvalidInput):
    """A path that leaves its root or could not be a file of ours: the message says why."""

    code = "unsafe-path"


class FootageRoot:
    """A folder with recordings and snapshots: a data folder, or one failover's folder within it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"FootageRoot({str(self.path)!r})"

    @property
    def recordings(self) -> Path:
        return self.path / RECORDINGS

    @property
    def snapshots(self) -> Path:
        return self.path / SNAPSHOTS

    @property
    def incoming(self) -> Path:
        """Files that are being fetched: never on a timeline before they are verified and moved."""
        return self.path / INCOMING

    def failover(self, failover: str) -> FootageRoot:
        """The root of the footage made in a failover.

        Raises:
            InvalidId: not a failover id.
        """
        epoch_of(failover)
        return FootageRoot(self.path / FAILOVERS / failover)

    def failovers(self) -> list[str]:
        """The failovers that have a folder here, lowest epoch first."""
        try:
            with os.scandir(self.path / FAILOVERS) as entries:
                names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return []
        return sorted((name for name in names if _is_failover(name)), key=epoch_of)

    def folder(self, name: str) -> FootageRoot:
        """The root that `""` or `"failovers/f-12"` names within a data folder.

        Raises:
            UnsafePath: anything else.
        """
        if name == "":
            return self
        parent, _, failover = name.partition("/")
        if parent != FAILOVERS or not _is_failover(failover):
            raise UnsafePath(
                f"{name[:80]!r} is no footage folder: expected nothing, or {FAILOVERS}/f-<number>"
            )
        return self.failover(failover)

    def recording(self, camera: str, name: RecordingName) -> Path:
        return self.path / name.path(camera)

    def free_name(self, camera: str, name: RecordingName) -> RecordingName:
        """This name, or the first after it that no file has: a clock that was set back by a whole hour brings
        the same starts and durations again.

        Raises:
            OSError: the disk said no.
        """
        while os.path.lexists(self.recording(camera, name)):
            name = replace(name, start_ms=name.start_ms + 1)
        return name

    def part(self, camera: str, start_ms: int) -> Path:
        return self.path / PartName(start_ms).path(camera)

    def snapshot(self, camera: str, name: SnapshotName) -> Path:
        return self.path / name.path(camera)

    def join(self, relative: str) -> Path:
        """The path of a file below this root, made from a name that came from outside.

        Raises:
            UnsafePath: empty, absolute, with `..`, `.`, NUL, a backslash or an empty part, too long, or
                through a symbolic link.
        """
        parts = _safe_parts(relative)
        path = self.path
        for part in parts:
            path = path / part
            if path.is_symlink():
                raise UnsafePath(f"{relative[:120]!r} goes through a symbolic link")
        return path


def _is_failover(name: str) -> bool:
    try:
        epoch_of(name)
    except InvalidId:
        return False
    return True


def _safe_parts(relative: str) -> tuple[str, ...]:
    shown = repr(relative[:120])
    if not relative or "\0" in relative or "\\" in relative:
        raise UnsafePath(f"{shown} is no file name: it is empty, or has a NUL or a backslash")
    try:
        size = len(os.fsencode(relative))
    except UnicodeEncodeError as error:
        raise UnsafePath(f"{shown} is no file name: it is not valid text") from error
    if size > MAXIMUM_PATH_BYTES:
        raise UnsafePath(f"{shown}... is longer than {MAXIMUM_PATH_BYTES} bytes")
    parts = relative.split("/")
    for part in parts:
        if part in {"", ".", ".."}:
            raise UnsafePath(f"{shown} is absolute or has an empty part, '.' or '..'")
        if len(os.fsencode(part)) > MAXIMUM_NAME_BYTES:
            raise UnsafePath(f"{shown} has a name longer than {MAXIMUM_NAME_BYTES} bytes")
    return PurePosixPath(*parts).parts


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder durable.

    Raises:
        OSError: the disk said no.
    """
    with _opened(folder, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
        os.fsync(descriptor)


def make_folders(folder: Path) -> None:
    """Create a folder and its missing parents, each durable in its own parent.

    Raises:
        OSError: it cannot be created.
    """
    missing: list[Path] = []
    while not folder.is_dir():
        missing.append(folder)
        if folder.parent == folder:
            break
        folder = folder.parent
    for path in reversed(missing):
        try:
            path.mkdir(exist_ok=True)
        except FileExistsError:
            # A file, or a link to what is not there. Not to be taken for the name that a caller tries next.
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None
        fsync_folder(path.parent)


class LostWrites(OSError):
    """The kernel could not write what a file was given. It says so once: the next fsync of the same file
    succeeds (fsync(2), and "PostgreSQL vs. fsync", FOSDEM 2019), so it must be written anew."""


def finish_file(part: Path, final: Path, *, anew: bool = False) -> None:
    """Give a complete file its final name, so that a name which can be seen has its whole content.

    The order matters: content to disk, then the name, then the folder. After a power cut in between
    there is either the old name or the new one, never an empty file under the new one.

    `anew`: the content is written to a new file, as it must be once `LostWrites` was raised; what the disk
    did not get is in memory still, unless much else was read or written since.

    Raises:
        LostWrites: the content is not on the disk; the file still has its old name.
        OSError: the disk said no; the file then still has its old name, or its new one.
    """
    if anew:
        # In its own place, not under the new name: after a crash it would be here twice.
        _copy(part, part)
    else:
        _sync(part)
    make_folders(final.parent)
    try:
        part.rename(final)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _move_to_other_disk(part, final)
    fsync_folder(final.parent)
    if part.parent != final.parent:
        fsync_folder(part.parent)


def _sync(part: Path) -> None:
    with _opened(part, os.O_RDONLY) as descriptor:
        try:
            os.fsync(descriptor)
        except OSError as error:
            raise LostWrites(error.errno, error.strerror, str(part)) from error


def _move_to_other_disk(part: Path, final: Path) -> None:
    _copy(part, final)
    fsync_folder(final.parent)
    part.unlink()


def _copy(part: Path, final: Path) -> None:
    """As a rename, to another disk (recordings may have one of their own), or to a new file in its place."""
    arriving = final.with_name(f"{COPY_PREFIX}{final.name}")
    try:
        shutil.copyfile(part, arriving)
        with _opened(arriving, os.O_RDONLY) as descriptor:
            os.fsync(descriptor)
        if not filecmp.cmp(part, arriving, shallow=False):
            raise OSError(errno.EIO, "the copy is not the same")
        arriving.rename(final)
    except BaseException:
        arriving.unlink(missing_ok=True)
        raise


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
