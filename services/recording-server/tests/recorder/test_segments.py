"""Beginning and finishing a file in a folder where something stands in the way."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from queue import SimpleQueue

import pytest
from understudy_footage import FootageRoot, RecordingName, day_of, make_folders
from understudy_recording_server.recorder import finishing, segments
from understudy_recording_server.recorder.finishing import Finisher
from understudy_recording_server.recorder.protocol import Report, SegmentFinished, Trouble
from understudy_recording_server.recorder.segments import WrittenPart

START = 1_770_000_000_000


def test_a_start_that_is_taken_is_a_millisecond_later(tmp_path: Path) -> None:
    root = FootageRoot(tmp_path)
    make_folders(root.part("cam-1", START).parent)
    root.part("cam-1", START).write_bytes(b"another connection's")
    root.part("cam-1", START + 1).mkdir()
    start_ms, file = segments._create(root, "cam-1", START)
    file.close()
    assert start_ms == START + 2


@pytest.mark.parametrize("blocked", ["recordings/cam-1", f"recordings/cam-1/{day_of(START)}"])
@pytest.mark.parametrize("is_link", [True, False])
def test_what_is_no_folder_is_an_error_of_the_disk(tmp_path, monkeypatch, blocked, is_link) -> None:
    # One thread reads all cameras: looking for a free start for ever would stop them all.
    tried: list[Path] = []

    class Counted(segments.PartFile):
        def __init__(self, path: Path) -> None:
            tried.append(path)
            assert len(tried) < 3
            super().__init__(path)

    monkeypatch.setattr(segments, "PartFile", Counted)
    path = tmp_path / blocked
    path.parent.mkdir(parents=True)
    if is_link:
        path.symlink_to(tmp_path / "a disk that is not mounted")
    else:
        path.write_text("in the way")
    with pytest.raises(OSError, match="Not a directory"):
        segments._create(FootageRoot(tmp_path), "cam-1", START)


def test_a_finished_file_takes_nobodys_place(tmp_path: Path) -> None:
    # The clock was set back by an hour, and the same minute comes again.
    root = FootageRoot(tmp_path)
    earlier = root.recording("cam-1", RecordingName(START, 60_000))
    make_folders(earlier.parent)
    earlier.write_bytes(b"earlier footage")
    part = root.part("cam-1", START)
    part.write_bytes(b"later footage")
    reports: list[Report] = []
    finisher = Finisher(root, reports.append)
    finisher.finish("", "cam-1", WrittenPart(part, START, 60_000, 13, torn=False), 60_000).result()
    finisher.close()
    later = RecordingName(START + 1, 60_000)
    path = str(later.path("cam-1"))
    assert reports == [SegmentFinished("", "cam-1", path, later.start_ms, later.duration_ms, 13)]
    assert earlier.read_bytes() == b"earlier footage"
    assert (tmp_path / path).read_bytes() == b"later footage"


def test_a_file_that_the_disk_lost_is_not_believed_at_the_second_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = FootageRoot(tmp_path)
    reports: list[Report] = []
    part = root.part("cam-1", START)
    make_folders(part.parent)
    part.write_bytes(b"footage")
    lost, left = part.stat().st_ino, [1]
    fsync = os.fsync

    def fails_once(descriptor: int) -> None:
        if os.fstat(descriptor).st_ino == lost and left:
            left.pop()
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fails_once)
    finisher = Finisher(root, reports.append)
    finisher.finish("", "cam-1", WrittenPart(part, START, 60_000, 7, torn=False), 60_000).result()
    finisher.close()
    final = RecordingName(START, 60_000).path("cam-1")
    assert left == []
    assert [type(report) for report in reports] == [SegmentFinished]
    assert (tmp_path / str(final)).read_bytes() == b"footage"
    assert (tmp_path / str(final)).stat().st_ino != lost


def test_a_torn_file_that_stays_unreadable_gets_its_name_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finishing, "LATER_S", 0.001)
    root = FootageRoot(tmp_path)
    reports: SimpleQueue[Report] = SimpleQueue()
    part = root.part("cam-1", START)
    make_folders(part.parent)
    content = b"footage" * 10
    part.write_bytes(content)

    def sick(descriptor: int, count: int, at: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pread", sick)
    finisher = Finisher(root, reports.put)
    finisher.finish("", "cam-1", WrittenPart(part, START, 60_000, len(content), torn=True), 60_000)
    try:
        assert isinstance(reports.get(timeout=10), Trouble)
        finished = reports.get(timeout=10)
    finally:
        finisher.close()
    assert isinstance(finished, SegmentFinished)
    assert (tmp_path / finished.path).read_bytes() == content
