"""One file on its way home, on this machine's disk: a part that grows, verified, then named. For threads."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from blake3 import blake3
from understudy_footage import (
    UNREADABLE,
    FootagePath,
    FootageRoot,
    LostWrites,
    ManifestEntry,
    finish_file,
    fsync_folder,
    hash_file,
    make_folders,
)

READ_BYTES = 1 << 20
PART_SUFFIX = ".part"


class Damaged(Exception):
    """What came is not what the manifest says."""


class IncomingFile:
    """A file of a failover's manifest. Its part lies under incoming/, where no timeline sees it (P10).

    Every method may raise OSError: the disk said no, and what is there can be gone on with.
    """

    def __init__(self, data: FootageRoot, failover: str, entry: ManifestEntry) -> None:
        """Raises:
        InvalidFootageName: the entry is no footage of ours.
        """
        home = FootagePath.parse(entry.path).brought_home(failover)
        self.entry = entry
        self.final = data.path / home.path
        self._part = data.incoming / failover / f"{entry.path}{PART_SUFFIX}"
        self._descriptor = -1
        self._hasher = blake3()
        self.size = 0

    @property
    def is_unreadable(self) -> bool:
        """Whether its source cannot read it any more."""
        return self.entry.blake3 == UNREADABLE

    def is_home(self) -> bool:
        """Whether the file is here already, whole, unharmed and durable."""
        try:
            if self.final.stat().st_size != self.entry.size:
                return False
            found = hash_file(self.final)
            # With `is_unreadable`: nothing got that name here but what was verified, when it still could be.
            if not self.is_unreadable and found != (self.entry.size, self.entry.blake3):
                return False
            with self.final.open("rb") as file:
                # It may have got its name just before we ended: then nothing of it need be on the disk, and
                # the source is cleared against our word.
                os.fsync(file.fileno())
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            # Asked again, the disk may say that all is well; and what it cannot read can be fetched again.
            return False
        fsync_folder(self.final.parent)
        return True

    def open(self) -> None:
        """Go on with what has come already; it is read again, for only the hash of the whole file counts."""
        make_folders(self._part.parent)
        self.close()
        self._descriptor = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        self._hasher, self.size = blake3(), 0
        try:
            while data := os.read(self._descriptor, READ_BYTES):
                self._hasher.update(data)
                self.size += len(data)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            self.begin_again()
        if self.size > self.entry.size:
            self.begin_again()

    def begin_again(self) -> None:
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self._hasher, self.size = blake3(), 0

    def write(self, data: bytes) -> None:
        """Raises:
        Damaged: more comes than the manifest says.
        """
        if self.size + len(data) > self.entry.size:
            raise Damaged(f"more came than {self.entry.size} bytes")
        view = memoryview(data)
        while view:
            count = os.write(self._descriptor, view)
            self._hasher.update(view[:count])
            self.size += count
            view = view[count:]

    def finish(self) -> None:
        """Verify the whole file and give it its final name, durably.

        Raises:
            Damaged: its hash is another; the part is gone.
        """
        if self._hasher.hexdigest() != self.entry.blake3:
            self.begin_again()
            raise Damaged("its hash is not that of the manifest")
        try:
            finish_file(self._part, self.final)
        except LostWrites:
            # Nobody need trust what is in memory: it can be fetched again.
            self.begin_again()
            raise
        self.close()

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def part_folder(data: FootageRoot, failover: str) -> Path:
    """Where the parts of one failover lie."""
    return data.incoming / failover
