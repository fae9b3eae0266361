"""One file on its way home, and the folder that it leaves, on disks that fail: what counts as home is on the
disk, name and content, and nothing goes that was not looked at."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import msgspec
import pytest
from understudy_contracts.commands import ClearFootage
from understudy_footage import UNREADABLE, FootageRoot, ManifestEntry, RecordingName, hash_file, manifest_of
from understudy_lab.disks import unlistable
from understudy_recording_server.restoring.clearing import check_verified
from understudy_recording_server.restoring.incoming import IncomingFile

CONTENT = b"footage" * 1000


class Syncs:
    """What was synced, by inode; `fails` are the paths whose next fsync fails, as a disk's write-back does:
    once, and never again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[int] = []
        self.fails: list[Path] = []
        monkeypatch.setattr(os, "fsync", self.fsync)

    def fsync(self, descriptor: int) -> None:
        inode = os.fstat(descriptor).st_ino
        for path in self.fails:
            if path.exists() and path.stat().st_ino == inode:
                self.fails.remove(path)
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.done.append(inode)


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> Syncs:
    return Syncs(monkeypatch)


@pytest.fixture
def incoming(tmp_path: Path) -> IncomingFile:
    source = tmp_path / "source"
    source.write_bytes(CONTENT)
    path = str(RecordingName(1_770_000_000_000, 60_000).path("cam-1"))
    return IncomingFile(FootageRoot(tmp_path / "home"), "f-1", ManifestEntry(path, *hash_file(source)))


def bring(file: IncomingFile) -> None:
    file.open()
    file.write(CONTENT[file.size :])
    file.finish()


def test_a_name_that_did_not_become_durable_is_no_home_coming(incoming, syncs):
    incoming.final.parent.mkdir(parents=True)
    syncs.fails.append(incoming.final.parent)
    with pytest.raises(OSError, match="Input/output"):
        bring(incoming)
    assert incoming.final.exists()
    syncs.done.clear()
    # The host clears the source when all is home: so it must be on the disk before that is said.
    assert incoming.is_home()
    assert {incoming.final.stat().st_ino, incoming.final.parent.stat().st_ino} <= set(syncs.done)
    syncs.fails.append(incoming.final.parent)
    with pytest.raises(OSError, match="Input/output"):
        incoming.is_home()


def test_content_that_the_disk_refused_is_fetched_again(incoming, syncs, tmp_path):
    syncs.fails.append(tmp_path / "home" / "incoming" / "f-1" / f"{incoming.entry.path}.part")
    with pytest.raises(OSError, match="Input/output"):
        bring(incoming)
    assert not incoming.is_home()
    incoming.open()
    # What is in memory would have the right hash, whatever the disk has.
    assert incoming.size == 0
    bring(incoming)
    assert incoming.is_home()
    assert incoming.final.read_bytes() == CONTENT


def test_what_its_source_can_read_no_more_is_home_only_if_it_came_before(incoming, tmp_path):
    entry = msgspec.structs.replace(incoming.entry, blake3=UNREADABLE)
    again = IncomingFile(FootageRoot(tmp_path / "home"), "f-1", entry)
    assert not again.is_home()
    incoming.open()
    incoming.write(CONTENT[:-1])
    assert not again.is_home()
    bring(incoming)
    assert again.is_home()


def test_what_its_source_can_read_no_more_is_on_the_disk_before_it_is_called_home(incoming, syncs, tmp_path):
    bring(incoming)
    again = IncomingFile(
        FootageRoot(tmp_path / "home"), "f-1", msgspec.structs.replace(incoming.entry, blake3=UNREADABLE)
    )
    syncs.done.clear()
    assert again.is_home()
    assert {again.final.stat().st_ino, again.final.parent.stat().st_ino} <= set(syncs.done)


def test_what_was_home_and_is_not_on_the_disk_is_fetched_again(incoming, syncs):
    bring(incoming)
    syncs.fails.append(incoming.final)
    # The kernel says it once only: asked again, it would say that all is well.
    assert not incoming.is_home()
    bring(incoming)
    assert incoming.is_home()


@pytest.mark.parametrize("place", ["final", "part"])
def test_what_cannot_be_read_at_home_is_fetched_again(incoming, monkeypatch, tmp_path, place):
    part = tmp_path / "home" / "incoming" / "f-1" / f"{incoming.entry.path}.part"
    if place == "final":
        bring(incoming)
    else:
        incoming.open()
        incoming.write(CONTENT[:100])
        incoming.close()
    bad = (incoming.final if place == "final" else part).stat().st_ino
    sick = Reads(bad)
    monkeypatch.setattr(os, "read", sick.read)
    monkeypatch.setattr("understudy_recording_server.restoring.incoming.hash_file", sick.hash_file)
    assert not incoming.is_home()
    bring(incoming)
    monkeypatch.undo()
    assert incoming.is_home()
    assert incoming.final.read_bytes() == CONTENT


class Reads:
    """Reads of a disk on which the file with this inode is bad."""

    def __init__(self, bad: int) -> None:
        self._bad = bad
        self._read = os.read

    def _check(self, status: os.stat_result) -> None:
        if status.st_ino == self._bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def read(self, descriptor: int, count: int) -> bytes:
        self._check(os.fstat(descriptor))
        return self._read(descriptor, count)

    def hash_file(self, path: Path) -> tuple[int, str]:
        self._check(path.stat())
        return hash_file(path)


def test_a_folder_that_cannot_be_read_is_not_cleared(tmp_path):
    root = FootageRoot(tmp_path)
    (root.recordings / "Not A Camera").mkdir(parents=True)
    manifest = manifest_of(root)
    command = ClearFootage(1, 9, "f-1", manifest.digest)
    check_verified(tmp_path, manifest, command)
    # Nobody knows what is in it, so nobody has verified it.
    with unlistable("Not A Camera"), pytest.raises(OSError, match="Input/output"):
        check_verified(tmp_path, manifest, command)
