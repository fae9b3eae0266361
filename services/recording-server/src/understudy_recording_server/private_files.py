"""Small files that only their owner may read, replaced as a whole: a power cut leaves the old or the new.

What the host cannot send again, or what the machine needs while the host is away, is kept twice: a bad sector
in one of the files then costs nothing.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog
from understudy_footage import fsync_folder

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700

log = structlog.get_logger()
T = TypeVar("T")


class CannotRead(Exception):
    """A file is there, but the disk does not give it, or not as it was written."""

    def __init__(self, path: Path, reason: str, *, damaged: bool) -> None:
        super().__init__(f"{path} is damaged ({reason})" if damaged else f"cannot read {path}: {reason}")


def read_private(path: Path, kind: type[T]) -> T | None:
    """What is in the file, which is JSON; None if there is none.

    Raises:
        CannotRead: the disk said no, or this is not `kind`.
    """
    content = _content(path)
    return None if content is None else _decoded(path, content, kind)


def write_private(path: Path, content: bytes) -> None:
    """Replace `path`, durably.

    Raises:
        OSError: the disk said no; the old content is still there.
    """
    _written_beside(path, content).replace(path)
    fsync_folder(path.parent)


def remove_private(path: Path) -> None:
    """Remove `path`, durably; one that is not there is removed already.

    Raises:
        OSError: the disk said no.
    """
    try:
        path.unlink()
    except FileNotFoundError:
        return
    fsync_folder(path.parent)


def read_twice(path: Path, kind: type[T]) -> T | None:
    """What is in the file, or in its copy should the disk have damaged it; None if there is no file, for then
    somebody has removed it. The one that is lost is written again, if the disk takes it.

    Raises:
        CannotRead: neither can be read.
    """
    try:
        content = _content(path)
        if content is None:
            return None
        found = _decoded(path, content, kind)
    except CannotRead as damage:
        copied = _from_copy(path, kind)
        if copied is None:
            raise
        log.error("a file is lost, its copy is used", error=str(damage))
        return copied
    with contextlib.suppress(OSError, CannotRead):
        if _content(_copy_of(path)) == content:
            return found
    with contextlib.suppress(OSError):
        write_private(_copy_of(path), content)
    return found


def _from_copy(path: Path, kind: type[T]) -> T | None:
    try:
        content = _content(_copy_of(path))
        if content is None:
            return None
        found = _decoded(_copy_of(path), content, kind)
    except CannotRead:
        return None
    with contextlib.suppress(OSError):
        write_private(path, content)
    return found


def write_twice(path: Path, content: bytes) -> None:
    """Replace `path` and its copy, durably.

    Raises:
        OSError: the disk said no; the old content is still there.
    """
    # Both are on the disk before either has its name: a disk that takes one only keeps both as they were,
    # lest what was refused (that this machine is to be erased, say) be done when the file is lost later.
    copy = _copy_of(path)
    new, new_copy = _written_beside(path, content), _written_beside(copy, content)
    new_copy.replace(copy)
    new.replace(path)
    fsync_folder(path.parent)


def remove_twice(path: Path) -> None:
    """Remove `path` and its copy, durably.

    Raises:
        OSError: the disk said no.
    """
    # The copy first: one left alone by a crash would stay for good, with all its passwords.
    remove_private(_copy_of(path))
    remove_private(path)


def _copy_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.copy")


def _written_beside(path: Path, content: bytes) -> Path:
    temporary = path.with_name(f".{path.name.removeprefix('.')}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        os.fchmod(descriptor, PRIVATE_FILE)
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return temporary


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CannotRead(path, error.strerror or str(error), damaged=False) from None


def _decoded(path: Path, content: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CannotRead(path, str(error), damaged=True) from None
