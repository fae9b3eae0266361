"""What a crash left, on a disk that does not answer as it should."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from threading import Event

import pytest
from understudy_footage import FootageRoot, make_folders
from understudy_lab.disks import unlistable
from understudy_lab.fragmented import fragmented_mp4
from understudy_recording_server.recorder.finishing import PATIENT_ROUNDS
from understudy_recording_server.recorder.protocol import FileRecovered, Report, Trouble
from understudy_recording_server.recorder.startup import left_by_crash, recover_all

START = 1_770_000_000_000


class Rounds(Event):
    """Time that passes at once: counts the pauses, and calls what is to happen in one."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.happens = {}

    def wait(self, timeout: float | None = None) -> bool:
        self.count += 1
        self.happens.get(self.count, lambda: None)()
        return self.is_set()


def left(tmp_path: Path, content: bytes) -> FootageRoot:
    data = FootageRoot(tmp_path)
    part = data.part("cam-1", START)
    make_folders(part.parent)
    part.write_bytes(content)
    return data


def recovered(data: FootageRoot, ending: Event) -> list[Report]:
    reports: list[Report] = []
    recover_all(data, left_by_crash(data, reports.append), reports.append, ending)
    return reports


@pytest.fixture(scope="module")
def recorded() -> bytes:
    return fragmented_mp4(50)


@pytest.fixture
def sick_from(monkeypatch: pytest.MonkeyPatch):
    """Makes all reads from an offset on fail."""
    pread = os.pread

    def sicken(bad: int) -> None:
        def sick(descriptor: int, count: int, at: int) -> bytes:
            if at >= bad:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return pread(descriptor, count, at)

        monkeypatch.setattr(os, "pread", sick)

    return sicken


def test_what_the_disk_refuses_is_told_once_and_tried_again(tmp_path, recorded, sick_from):
    data, ending = left(tmp_path, recorded), Rounds()
    sick_from(len(recorded) // 2)
    ending.happens[3] = lambda: sick_from(len(recorded))
    [trouble, file] = recovered(data, ending)
    assert isinstance(trouble, Trouble)
    assert "Input/output error" in trouble.reason
    assert isinstance(file, FileRecovered)
    assert (file.kept_bytes, ending.count) == (len(recorded), 3)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_file_that_stays_unreadable_gets_its_name_in_the_end(tmp_path, recorded, sick_from, share):
    data, ending = left(tmp_path, recorded), Rounds()
    sick_from(int(len(recorded) * share))
    [_, file] = recovered(data, ending)
    assert ending.count == PATIENT_ROUNDS
    assert (file.kept_bytes, file.cut_bytes) == (len(recorded), 0)
    assert (tmp_path / file.path).read_bytes() == recorded


def test_the_end_of_the_recorder_waits_for_no_sick_disk(tmp_path, recorded, sick_from):
    data, ending = left(tmp_path, recorded), Rounds()
    sick_from(0)
    ending.happens[2] = ending.set
    assert [type(report) for report in recovered(data, ending)] == [Trouble]
    assert data.part("cam-1", START).read_bytes() == recorded


def test_a_file_that_somebody_removed_is_no_trouble(tmp_path, recorded):
    data = left(tmp_path, recorded)
    found = left_by_crash(data, lambda _: None)
    data.part("cam-1", START).unlink()
    reports: list[Report] = []
    recover_all(data, found, reports.append, Rounds())
    assert reports == []


def test_folders_that_cannot_be_listed_keep_no_camera_from_being_shown(tmp_path, recorded):
    data = left(tmp_path, recorded)
    make_folders(data.failover("f-1").path)
    with unlistable("failovers"):
        [trouble, file] = recovered(data, Rounds())
    assert isinstance(trouble, Trouble)
    assert "cannot look for unfinished files: Input/output error" in trouble.reason
    assert isinstance(file, FileRecovered)
