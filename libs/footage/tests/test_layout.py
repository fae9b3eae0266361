import errno
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_contracts.errors import InvalidId
from understudy_footage import FootageRoot, LostWrites, RecordingName, UnsafePath, finish_file, make_folders


def test_folders_are_named_as_on_the_bus(tmp_path: Path) -> None:
    root = FootageRoot(tmp_path)
    assert root.folder("").path == tmp_path
    assert root.folder("failovers/f-12").path == tmp_path / "failovers" / "f-12"
    assert root.failover("f-12").recordings == tmp_path / "failovers" / "f-12" / "recordings"
    with pytest.raises(InvalidId):
        root.failover("f-12/../..")


@pytest.mark.parametrize("name", ["failovers", "failovers/", "failovers/..", "failovers/f-1/..", "x", "/"])
def test_other_folders_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnsafePath):
        FootageRoot(tmp_path).folder(name)


def test_failovers_are_listed_by_epoch(tmp_path: Path) -> None:
    root = FootageRoot(tmp_path)
    assert root.failovers() == []
    for name in ["f-10", "f-9", "other", "f-0"]:
        (tmp_path / "failovers" / name).mkdir(parents=True)
    (tmp_path / "failovers" / "f-3").write_text("a file")
    assert root.failovers() == ["f-9", "f-10"]


@pytest.mark.parametrize(
    "relative",
    ["", "/etc/passwd", "..", "a/../b", "a//b", "a/", "./a", "a\0b", "a\\b", "x" * 256, "é" * 128,
     "a/" * 600 + "a", "\ud800"],
)  # fmt: skip
def test_paths_that_leave_or_cannot_be_are_refused(tmp_path: Path, relative: str) -> None:
    with pytest.raises(UnsafePath) as caught:
        FootageRoot(tmp_path).join(relative)
    assert len(caught.value.message) < 400


def test_symbolic_links_are_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(outside)
    root = FootageRoot(tmp_path / "root")
    for relative in ["link", "link/file"]:
        with pytest.raises(UnsafePath, match="symbolic link"):
            root.join(relative)


@given(st.text())
def test_a_joined_path_never_leaves_the_root(relative: str) -> None:
    root = Path("/nowhere/root")
    try:
        path = FootageRoot(root).join(relative)
    except UnsafePath:
        return
    assert Path(os.path.normpath(path)).is_relative_to(root)
    assert path != root


def test_a_finished_file_has_its_content_and_only_its_final_name(tmp_path: Path) -> None:
    root = FootageRoot(tmp_path)
    part = root.part("gate", 1770000000123)
    make_folders(part.parent)
    part.write_bytes(b"content")
    final = root.recording("gate", RecordingName(1770000000123, 10))
    finish_file(part, final)
    assert final.read_bytes() == b"content"
    assert not part.exists()


def test_a_file_can_be_finished_into_another_folder(tmp_path: Path) -> None:
    part = tmp_path / "incoming" / "x"
    make_folders(part.parent)
    part.write_bytes(b"content")
    final = tmp_path / "a" / "b" / "c"
    finish_file(part, final)
    assert final.read_bytes() == b"content"


def test_a_file_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        finish_file(tmp_path / "none", tmp_path / "final")
    assert not (tmp_path / "final").exists()


def test_a_file_in_the_place_of_a_folder_is_told_as_that(tmp_path: Path) -> None:
    # FileExistsError is what "this name is taken" looks like to somebody who then tries the next one.
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ["file", "link", "file/below"]:
        with pytest.raises(NotADirectoryError):
            make_folders(tmp_path / name)


def test_what_the_disk_lost_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part, final = tmp_path / "part", tmp_path / "recordings" / "b"
    part.write_bytes(b"content")
    lost = part.stat().st_ino
    fails = [True]
    synced: list[int] = []
    fsync = os.fsync

    def once(descriptor: int) -> None:
        # As Linux does: it tells of what it could not write, and forgets it.
        synced.append(os.fstat(descriptor).st_ino)
        if synced[-1] == lost and fails.pop():
            fails.append(False)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", once)
    with pytest.raises(LostWrites, match="Input/output"):
        finish_file(part, final)
    assert part.read_bytes() == b"content"
    assert not final.exists()
    finish_file(part, final, anew=True)
    assert final.read_bytes() == b"content"
    assert final.stat().st_ino != lost
    assert final.stat().st_ino in synced
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [final]


@pytest.fixture
def two_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def within_a_folder(path: Path, target: Path) -> Path:
        if path.parent != target.parent:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", within_a_folder)


@pytest.mark.usefixtures("two_disks")
def test_a_file_can_be_finished_onto_another_disk(tmp_path: Path) -> None:
    part, final = tmp_path / "incoming" / "x", tmp_path / "recordings" / "b"
    make_folders(part.parent)
    part.write_bytes(b"content")
    finish_file(part, final)
    assert final.read_bytes() == b"content"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [final]


@pytest.mark.usefixtures("two_disks")
def test_a_copy_that_fails_leaves_the_file_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, final = tmp_path / "incoming" / "x", tmp_path / "recordings" / "b"
    make_folders(part.parent)
    part.write_bytes(b"content")

    def full(_: Path, to: Path) -> None:
        to.write_bytes(b"con")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copyfile", full)
        with pytest.raises(OSError, match="No space"):
            finish_file(part, final)
        patched.setattr(shutil, "copyfile", lambda _, to: to.write_bytes(b"cantent"))
        with pytest.raises(OSError, match="not the same"):
            finish_file(part, final)
    assert part.read_bytes() == b"content"
    assert list(final.parent.iterdir()) == []
    finish_file(part, final)
    assert final.read_bytes() == b"content"
    assert not part.exists()
