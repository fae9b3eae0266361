"""The catalog is a picture of the files; the checker finds every way in which it is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_footage import Catalog, FootageRoot, Held, RecordingName, Shelf, SnapshotName, make_folders
from understudy_footage.check import check, main

START = 1_770_000_000_000
MINUTE = 60_000


def put(path: Path, content: bytes = b"footage") -> Path:
    make_folders(path.parent)
    path.write_bytes(content)
    return path


@pytest.fixture
def data(tmp_path: Path) -> FootageRoot:
    root = FootageRoot(tmp_path)
    for minute in range(3):
        put(root.recording("cam-1", RecordingName(START + minute * MINUTE, MINUTE)), b"x" * (minute + 1))
    put(root.recording("cam-2", RecordingName(START - MINUTE, MINUTE, "f-3")))
    put(root.snapshot("cam-1", SnapshotName(START + 5)), b"jpeg")
    put(root.failover("f-9").recording("cam-7", RecordingName(START, MINUTE)), b"away")
    put(root.part("cam-1", START + 3 * MINUTE))
    return root


def test_a_catalog_is_built_from_the_files(data):
    catalog = Catalog.build(data)
    assert (catalog.files, catalog.bytes) == (6, 1 + 2 + 3 + 7 + 4 + 4)
    assert catalog.folders == ["", "failovers/f-9"]
    own = catalog.shelf("").files
    assert [held.camera for held in own] == ["cam-2", "cam-1", "cam-1", "cam-1", "cam-1"]
    assert own[0].came_from == "f-3"
    assert own[0].end_ms == START
    assert check(data, catalog) == []


def test_a_catalog_follows_what_it_is_told(data):
    catalog = Catalog.build(data)
    new = put(data.recording("cam-1", RecordingName(START + 3 * MINUTE, 10)))
    catalog.note(new.relative_to(data.path).as_posix(), 7)
    away = data.failover("f-9").recording("cam-7", RecordingName(START, MINUTE))
    away.unlink()
    catalog.forget(away.relative_to(data.path).as_posix())
    assert check(data, catalog) == []
    catalog.forget_folder("failovers/f-9")
    assert catalog.entries() == Catalog.build(data).entries()


def test_a_catalog_that_cannot_be_finished_is_none(data):
    (data.path / "snapshots").rename(data.path / "away")
    put(data.path / "snapshots")
    with pytest.raises(NotADirectoryError):
        Catalog.build(data)


files = st.builds(
    lambda camera, start, length, size: Held(
        start, str(RecordingName(start, length).path(camera)), camera, start + length, size
    ),
    st.sampled_from(["a", "b"]),
    st.integers(START, START + 50),
    st.integers(0, 5),
    st.integers(0, 9),
)


@given(st.lists(st.tuples(st.booleans(), files), max_size=60))
def test_a_shelf_is_the_same_whichever_way_it_came_about(steps):
    shelf, expected = Shelf(), {}
    for add, held in steps:
        if add:
            shelf.add(held)
            expected[held.path] = held
        else:
            shelf.remove(held.path)
            expected.pop(held.path, None)
    assert shelf == Shelf.of(expected.values())
    assert shelf.bytes == sum(held.size for held in expected.values())
    assert shelf.files == sorted(shelf.files)
    assert all(path in shelf for path in expected)


def test_every_difference_is_named(data):
    catalog = Catalog.build(data)
    changed = data.recording("cam-1", RecordingName(START, MINUTE))
    changed.write_bytes(b"another size")
    gone = data.recording("cam-1", RecordingName(START + MINUTE, MINUTE))
    gone.unlink()
    new = put(data.recording("cam-1", RecordingName(START + MINUTE, MINUTE - 1)))
    overlapping = put(data.recording("cam-1", RecordingName(START + MINUTE + 500, MINUTE)))
    catalog.note(overlapping.relative_to(data.path).as_posix(), 7)
    empty = put(data.recording("cam-1", RecordingName(START + 9 * MINUTE, 1)), b"")
    catalog.note(empty.relative_to(data.path).as_posix(), 0)
    found = {data.path / difference.path: difference.what for difference in check(data, catalog)}
    assert found[changed] == "has 12 bytes, in the index 1"
    assert found[gone] == "is in the index and not on the disk"
    assert found[new] == "is on the disk and not in the index"
    assert "overlaps" in found[overlapping]
    assert found[empty] == "is empty"


@pytest.mark.parametrize(
    "name",
    [
        "recordings/cam-1/2026-02-02/notes.txt",
        "recordings/cam-1/1999-01-01/1770000000000_60000.mp4",
        "recordings/../cam-1",
        "recordings/CAM 1/2026-02-02/1770000000000_60000.mp4",
        "recordings/cam-1/2026-02-02/1770000000000_60000.mp4\n",
        "recordings/cam-1/2026-02-02/1770000000000_060000.mp4",
        "recordings/cam-1/2026-02-02/-1770000000000_6.mp4",
        "recordings/cam-1/2026-02-02/\x1b[2Jhello.mp4",
        "recordings/1770000000000_60000.mp4",
        "recordings/cam-1/2026-02-02/deeper/1770000000000_60000.mp4",
        "snapshots/cam-1/2026-02-02/1770000000000.mp4.part",
        "failovers/f-9/agent.json",
        "failovers/f-9/recordings/cam-7/2026-02-02/1770000000000.mp4.part ",
        "failovers/somewhere/recordings/cam-7/2026-02-02/1770000000000_60000.mp4",
    ],
)
def test_hostile_names_are_named_and_left_alone(data, name, capsys):
    if ".." in name:
        path = data.recordings / "link"
        path.symlink_to(data.path / "elsewhere")
    else:
        path = put(data.path / name)
    assert main([str(data.path)]) == 1
    said = capsys.readouterr().out
    assert len(said.splitlines()) == 2
    assert "\x1b" not in said
    assert path.is_symlink() or path.read_bytes() == b"footage"


def test_the_checker_is_a_command(data):
    command = [sys.executable, "-m", "understudy_footage.check", str(data.path)]
    good = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (good.returncode, good.stdout) == (0, "6 files, 21 bytes, 0 differences\n"), good.stderr
    stopped = subprocess.run([*command, "--stopped"], capture_output=True, text=True, check=False)
    assert stopped.returncode == 1
    assert "was never finished" in stopped.stdout
    put(data.recordings / "what.txt")
    bad = subprocess.run(command, capture_output=True, text=True, check=False)
    assert bad.returncode == 1
    assert "recordings/what.txt" in bad.stdout
    nowhere = subprocess.run(
        [*command[:-1], str(data.path / "no")], capture_output=True, text=True, check=False
    )
    assert nowhere.returncode == 2
    assert nowhere.stderr.count("\n") == 1
