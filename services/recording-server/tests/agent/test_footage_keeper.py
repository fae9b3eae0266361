"""The keeper on a real folder: what it knows is what is there, and what it does not know it leaves alone."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from understudy_footage import Catalog, FootageRoot, RecordingName, day_of, make_folders
from understudy_footage.check import check
from understudy_lab.disks import small_tmpfs, unlistable
from understudy_recording_server.disk.storage_state import FEW_INODES
from understudy_recording_server.erasing import erase
from understudy_recording_server.identity import AgentFile
from understudy_recording_server.keeping.care import Care
from understudy_recording_server.keeping.keeper import FootageKeeper
from understudy_recording_server.keeping.retention import (
    DAY_MS,
    MOST_AT_ONCE,
    Rules,
    minimum_free,
    minimum_free_files,
)
from understudy_runtime.clock import Clock, ManualClock, SystemClock

NOW = int(time.time() * 1000)


def put(root: FootageRoot, start_ms: int, size: int = 10, failover: str | None = None) -> Path:
    path = root.recording("cam-1", RecordingName(start_ms, 60_000, failover))
    make_folders(path.parent)
    path.write_bytes(b"x" * size)
    return path


def fill(root: FootageRoot, size: int) -> list[Path]:
    """Files of footage, oldest first, until the disk is full."""
    files: list[Path] = []
    try:
        while True:
            files.append(put(root, NOW + len(files), size))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
    return files


class Watched:
    """A keeper, and what it has said."""

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        self.care = Care()
        self.lost: list[str] = []
        self.data = FootageRoot(folder)
        self.keeper = FootageKeeper(
            folder,
            clock or SystemClock(),
            care=lambda: self.care,
            cameras=list,
            changed=lambda: None,
            lost=self.lost.append,
        )


@pytest.fixture
def disk_of_recordings(tmp_path, injected):
    with injected(small_tmpfs(tmp_path / "recordings")) as folder:
        yield folder


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


async def test_what_is_too_old_goes_and_nothing_else(watched):
    data = watched.data
    old = [put(data, NOW - 9 * DAY_MS + minute * 60_000) for minute in range(3)]
    with_notes = put(data, NOW - 8 * DAY_MS)
    notes = with_notes.with_name("notes.txt")
    notes.write_text("mine")
    coming = put(data, NOW - 7 * DAY_MS, failover="f-5")
    new = put(data, NOW - DAY_MS)
    part = data.part("cam-1", NOW - 9 * DAY_MS + 999)
    part.write_bytes(b"unfinished")
    away = put(data.failover("f-6"), NOW - 9 * DAY_MS)
    watched.care = Care(Rules(days=3), not_home=frozenset({"f-5"}))
    await watched.keeper.round()
    assert not any(path.exists() for path in [*old, with_notes])
    assert all(path.exists() for path in [notes, coming, new, part, away])
    part.unlink()
    watched.care = Care(Rules(days=3))
    put(data, NOW - 9 * DAY_MS)
    watched.keeper.look_again()
    await watched.keeper.round()
    assert not coming.exists()
    # Days that are empty are gone, and that is no loss.
    assert sorted(path.name for path in (data.recordings / "cam-1").iterdir()) == sorted(
        [day_of(NOW - 8 * DAY_MS), day_of(NOW - DAY_MS)]
    )
    await watched.keeper.round()
    assert watched.lost == []
    assert (watched.keeper.files, watched.keeper.bytes) == (2, 20)


async def test_a_missing_or_broken_index_deletes_nothing(watched):
    old = put(watched.data, NOW - 9 * DAY_MS)
    watched.care = Care(Rules(days=3, bytes=0))
    # One of the folders cannot be read: what there is is not known, so nothing goes.
    snapshots = watched.data.snapshots
    snapshots.write_text("in the way")
    await watched.keeper.round()
    await watched.keeper.round()
    assert old.exists()
    assert watched.keeper.files == 0
    snapshots.unlink()
    watched.keeper.look_again()
    await watched.keeper.round()
    assert not old.exists()


async def test_without_settings_nothing_goes(watched):
    old = put(watched.data, 0)
    await watched.keeper.round()
    assert old.exists()


async def test_files_that_were_finished_without_a_word_are_found(watched):
    await watched.keeper.round()
    path = put(watched.data, NOW)
    watched.keeper.note(path.relative_to(watched.data.path).as_posix(), 10)
    put(watched.data, NOW + 60_000)
    assert watched.keeper.files == 1
    watched.keeper.look_again()
    await watched.keeper.round()
    assert watched.keeper.files == 2
    assert check(watched.data, Catalog.build(watched.data)) == []


async def test_a_copy_that_a_crash_left_goes_and_no_other_hidden_file(watched):
    whole = put(watched.data, NOW - DAY_MS)
    away = put(watched.data.failover("f-3"), NOW - DAY_MS)
    names = [
        away.with_name(f".{away.name}"),
        whole.with_name(f".{whole.name}"),
        whole.with_name(".notes.txt"),
    ]
    for path in names:
        path.write_bytes(b"half")
        os.utime(path, (0, 0))
    being_made = put(watched.data, NOW).with_name(f".{RecordingName(NOW, 60_000).file_name}")
    being_made.write_bytes(b"half")
    os.utime(being_made, (time.time() + 60, time.time() + 60))
    await watched.keeper.load()
    assert [path.exists() for path in names] == [False, False, True]
    assert whole.exists()
    assert away.exists()
    assert being_made.exists()


async def test_what_somebody_else_removed_is_told_once(watched):
    paths = [put(watched.data, NOW - number * DAY_MS) for number in range(3)]
    await watched.keeper.round()
    for path in paths[1:]:
        path.unlink()
        path.parent.rmdir()
    await watched.keeper.round()
    await watched.keeper.round()
    assert watched.lost == ["2 files of cam-1 are gone that this server did not remove"]
    assert watched.keeper.files == 1


async def test_a_link_in_the_place_of_a_folder_is_not_followed(watched, tmp_path_factory):
    elsewhere = FootageRoot(tmp_path_factory.mktemp("elsewhere"))
    theirs = put(elsewhere, NOW - 9 * DAY_MS)
    mine = put(watched.data, NOW - 9 * DAY_MS)
    await watched.keeper.round()
    # Changed after it was noted: the name leads out of the data folder now.
    mine.unlink()
    mine.parent.rmdir()
    mine.parent.symlink_to(theirs.parent)
    watched.care = Care(Rules(days=3))
    await watched.keeper.round()
    assert theirs.exists()


@pytest.mark.parametrize("unreadable", ["recordings", "recordings/cam-1", "failovers"])
async def test_a_disk_that_cannot_be_read_is_told_and_nothing_ends(watched, unreadable):
    old = put(watched.data, NOW - 9 * DAY_MS)
    put(watched.data.failover("f-6"), NOW)
    await watched.keeper.round()
    # So that a folder that is known is read again.
    os.utime(watched.data.recordings / "cam-1", ns=(1, 1))
    watched.care = Care(Rules(days=3))
    with unlistable(str(watched.data.path / unreadable)):
        watched.keeper.look_again()
        await watched.keeper.round()
    assert watched.lost == ["the footage cannot be listed, so none is removed: Input/output error"]
    assert old.exists()
    watched.keeper.look_again()
    await watched.keeper.round()
    assert not old.exists()
    assert len(watched.lost) == 1


def test_an_identity_that_cannot_be_read_is_not_gone(tmp_path, monkeypatch):
    file = AgentFile(tmp_path)
    assert file.is_gone()
    file.path.write_bytes(b"{}")
    assert not file.is_gone()

    def sick(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", sick)
        assert not file.is_gone()


async def test_what_cannot_be_removed_keeps_nothing_else_from_going(watched):
    old = [put(watched.data, NOW - 9 * DAY_MS + number) for number in range(MOST_AT_ONCE + 2)]
    await watched.keeper.round()
    # As many as one round takes: a whole camera that somebody has protected.
    for path in old[:MOST_AT_ONCE]:
        path.unlink()
        path.mkdir()
    watched.care = Care(Rules(days=3))
    await watched.keeper.round()
    await watched.keeper.round()
    assert [path for path in old if path.is_file()] == []
    assert watched.lost == []


@pytest.mark.parametrize("small_disk", ["4m,nr_inodes=300"], indirect=True)
async def test_a_disk_that_takes_no_more_files_is_given_room(small_disk):
    watched = Watched(small_disk)
    files = fill(watched.data, size=1)
    watched.care = Care(Rules())
    await watched.keeper.round()
    # As many as there must be for a disk that is not full.
    await watched.keeper.round()
    assert os.statvfs(small_disk).f_favail >= minimum_free_files(300) >= FEW_INODES
    left = [path for path in files if path.exists()]
    assert left == files[-len(left) :]
    assert len(left) > 100
    await watched.keeper.round()
    assert [path for path in files if path.exists()] == left


async def test_the_disk_that_holds_the_recordings_is_the_one_that_counts(watched, disk_of_recordings):
    files = fill(watched.data, size=400_000)
    watched.care = Care(Rules())
    await watched.keeper.round()
    # The disk of the data folder has plenty of room.
    sizes = os.statvfs(disk_of_recordings)
    assert sizes.f_bavail * sizes.f_frsize >= minimum_free(Rules(), sizes.f_blocks * sizes.f_frsize)
    assert not files[0].exists()
    assert files[-1].exists()


async def test_a_machine_that_wakes_up_years_ahead_keeps_its_footage(tmp_path):
    before = Watched(tmp_path, ManualClock(NOW))
    kept = put(before.data, NOW - DAY_MS)
    before.care = Care(Rules(days=3))
    await before.keeper.load()
    await before.keeper.round()
    year = 365 * DAY_MS
    # Its battery is empty, or its time server lies; it may be started again and again before that is seen.
    for number in range(2):
        after = Watched(tmp_path, ManualClock(NOW + year + number * 60_000))
        after.care = Care(Rules(days=3))
        await after.keeper.load()
        await after.keeper.round()
        assert kept.exists()
    clock = ManualClock(NOW)
    mended = Watched(tmp_path, clock)
    mended.care = Care(Rules(days=3))
    await mended.keeper.load()
    clock.advance(DAY_MS / 1000 + 1)
    old = put(mended.data, NOW - 3 * DAY_MS)
    mended.keeper.look_again()
    await mended.keeper.round()
    assert kept.exists()
    assert not old.exists()


@pytest.mark.parametrize("folder", ["failovers/f-6", ""])
async def test_what_is_cleared_while_the_index_is_built_is_no_loss(watched, monkeypatch, folder):
    put(watched.data.folder(folder), NOW)
    await watched.keeper.rebuild()
    build, loop = Catalog.build, asyncio.get_running_loop()
    built, cleared = asyncio.Event(), threading.Event()

    def slow(data: FootageRoot) -> Catalog:
        catalog = build(data)
        loop.call_soon_threadsafe(built.set)
        assert cleared.wait(30)
        return catalog

    with monkeypatch.context() as patched:
        patched.setattr(Catalog, "build", slow)
        building = asyncio.create_task(watched.keeper.rebuild())
        await built.wait()
        watched.keeper.forget_folder(folder)
        shutil.rmtree(watched.data.folder(folder).recordings)
        cleared.set()
        await building
    await watched.keeper.rebuild()
    assert watched.lost == []
    assert watched.keeper.files == 0


def test_a_disk_of_its_own_can_be_erased(tmp_path, disk_of_recordings):
    files = [put(FootageRoot(tmp_path), NOW), put(FootageRoot(tmp_path).failover("f-6"), NOW)]
    (disk_of_recordings / "link").symlink_to(tmp_path / "failovers")
    erase(tmp_path)
    assert not any(path.exists() for path in files)
    assert list(disk_of_recordings.iterdir()) == []
    erase(tmp_path)


@pytest.mark.parametrize("was_ahead", [True, False])
async def test_what_is_recorded_now_is_not_the_oldest_whatever_the_clock_says(tmp_path, was_ahead):
    # The clock was a year ahead and has been set right, or the battery is empty and it is 2000 again.
    clock = ManualClock(NOW)
    watched = Watched(tmp_path, clock)
    year = 365 * DAY_MS
    right = [put(watched.data, NOW - number * DAY_MS) for number in (2, 1)]
    wrong = [put(watched.data, NOW + year + number) for number in range(2)] if was_ahead else []
    await watched.keeper.round()
    first_ms = NOW if was_ahead else NOW - 20 * year
    new = [put(watched.data, first_ms + number * 60_000) for number in range(3)]
    for path in new:
        watched.keeper.note(path.relative_to(tmp_path).as_posix(), 10)
    for kept in range(len(new) + len(wrong) + 1, 0, -1):
        watched.care = Care(Rules(bytes=10 * kept))
        await watched.keeper.round()
        assert [path for path in [*right, *wrong, *new] if path.exists()] == [*right, *wrong, *new][-kept:]


async def test_a_day_later_names_count_again(tmp_path):
    clock = ManualClock(NOW)
    watched = Watched(tmp_path, clock)
    right = put(watched.data, NOW)
    await watched.keeper.round()
    new = put(watched.data, NOW - DAY_MS)
    watched.keeper.note(new.relative_to(tmp_path).as_posix(), 10)
    clock.advance(86_401)
    watched.care = Care(Rules(bytes=10))
    await watched.keeper.round()
    assert right.exists()
    assert not new.exists()
