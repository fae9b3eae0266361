"""Small files that only their owner may read, replaced as a whole: a power cut leaves the old or the new."""

from __future__ import annotations

import os
from pathlib import Path

from understudy_footage import fsync_folder

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700


def write_private(path: Path, content: bytes) -> None:
    """Replace `path`, durably.

    Raises:
        OSError: the disk said no; the old content is still there.
    """
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        os.fchmod(descriptor, PRIVATE_FILE)
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)
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
