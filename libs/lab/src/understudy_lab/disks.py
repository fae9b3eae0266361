"""Real small disks that can be filled, torn and made to hang. Only root can mount them."""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from understudy_lab.faults import program, require_root, run


@contextlib.contextmanager
def small_tmpfs(folder: Path, size: str = "4m") -> Iterator[Path]:
    """A file system in memory, mounted on `folder` while the context is open; `size` as mount takes it.

    Raises:
        CannotInject: it cannot be mounted here.
    """
    require_root("mount a small file system")
    folder.mkdir(parents=True, exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        run("umount", "-l", str(folder))


@contextlib.contextmanager
def unreadable(file: Path) -> Iterator[Path]:
    """A file that cannot be read while the context is open: every read is an EIO, as of a bad sector.

    Raises:
        CannotInject: it cannot be mounted here.
    """
    require_root("make a file unreadable")
    # Nothing is mapped at address 0 of a process, and the kernel calls reading it an I/O error.
    run("mount", "--bind", f"/proc/{os.getpid()}/mem", str(file))
    try:
        yield file
    finally:
        run("umount", str(file))


@contextlib.contextmanager
def unlistable(end: str) -> Iterator[None]:
    """In this process, folders whose path ends like this cannot be listed while the context is open: EIO."""
    scandir = os.scandir

    def sick(folder: str | os.PathLike[str] = ".") -> object:
        if os.fspath(folder).endswith(end):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return scandir(folder)

    with mock.patch.object(os, "scandir", sick):
        yield


_FIBMAP, _FIGETBSZ = 1, 2
"""Where a block of a file lies on its disk, and how many bytes a block has (linux/fs.h)."""


@dataclass(frozen=True)
class SmallDisk:
    """An ext4 that turns read-only at its first error. `device` is the loop device that it lies on, and the
    file `image` its content."""

    folder: Path
    device: str
    image: Path

    @property
    def error_switch(self) -> Path:
        """Whatever is written here gives it an error; it stays read-only until it is unmounted."""
        return Path("/sys/fs/ext4", Path(self.device).name, "trigger_fs_error")

    def tear(self) -> None:
        self.error_switch.write_text("1", encoding="ascii")

    def lose(self, file: Path) -> None:
        """From now on a sector within this file cannot be read: every read of it is an EIO. Size and times
        stay. The file must be the last that was written; the disk is read-only afterwards."""
        run("sync", "-f", str(file))
        run("mount", "-o", "remount,ro", str(self.folder))
        with file.open("rb") as opened:
            block_bytes = _asked(opened.fileno(), _FIGETBSZ)
            blocks = range(-(-file.stat().st_size // block_bytes))
            last = max(_asked(opened.fileno(), _FIBMAP, block) for block in blocks)
            os.truncate(self.image, last * block_bytes)
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def hang(self) -> None:
        """From now on no write returns, until `go_on`."""
        run("fsfreeze", "--freeze", str(self.folder))

    def go_on(self) -> None:
        """Harmless if it does not hang."""
        subprocess.run(["fsfreeze", "--unfreeze", str(self.folder)], capture_output=True, check=False)


def _asked(descriptor: int, request: int, number: int = 0) -> int:
    answer = array.array("i", [number])
    fcntl.ioctl(descriptor, request, answer)
    return answer[0]


@contextlib.contextmanager
def small_ext4(folder: Path, image: Path, size_mb: int = 32) -> Iterator[SmallDisk]:
    """A disk whose content lies in the file `image`, mounted on `folder` while the context is open.

    Raises:
        CannotInject: it cannot be made or mounted here.
    """
    require_root("mount a file system")
    make = program("mkfs.ext4", "e2fsprogs")
    folder.mkdir(parents=True, exist_ok=True)
    with image.open("wb") as file:
        file.truncate(size_mb << 20)
    run(make, "-q", str(image))
    device = run("losetup", "-f", "--show", str(image))
    with contextlib.ExitStack() as stack:
        stack.callback(run, "losetup", "-d", device)
        run("mount", "-o", "errors=remount-ro", device, str(folder))
        stack.callback(run, "umount", "-l", str(folder))
        disk = SmallDisk(folder, device, image)
        # What waits in a disk that hangs could not even be killed.
        stack.callback(disk.go_on)
        yield disk
