import os
from pathlib import Path

from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from understudy_footage import (
    FootageRoot,
    Manifest,
    ManifestEntry,
    RecordingName,
    SnapshotName,
    files_of,
    hash_file,
    make_folders,
    manifest_of,
    manifest_of_entries,
    parts_of,
    recordings_of,
    snapshots_of,
)
from understudy_footage.catalog import held_in

START = 1770000000000


def _write(path: Path, content: bytes) -> None:
    make_folders(path.parent)
    path.write_bytes(content)


def _filled(tmp_path: Path) -> FootageRoot:
    root = FootageRoot(tmp_path)
    for camera, offset in [("b", 60_000), ("b", 0), ("a", 86_400_000), ("a", 0)]:
        _write(root.recording(camera, RecordingName(START + offset, 60_000)), camera.encode() * 10)
    _write(root.recording("a", RecordingName(START + 5, 100, "f-12")), b"home")
    _write(root.snapshot("a", SnapshotName(START)), b"jpeg")
    _write(root.part("a", START + 60_000), b"unfinished")
    return root


def test_the_index_is_sorted_and_holds_finished_recordings_only(tmp_path: Path) -> None:
    root = _filled(tmp_path)
    index = recordings_of(root)
    assert list(index) == ["a", "b"]
    assert [found.name.start_ms - START for found in index["a"]] == [0, 5, 86_400_000]
    assert [found.name.start_ms - START for found in index["b"]] == [0, 60_000]
    assert index["a"][1].name.failover == "f-12"
    assert index["a"][1].size == 4
    assert [found.name.time_ms for found in snapshots_of(root)["a"]] == [START]
    assert [(part.camera, part.name.start_ms) for part in parts_of(root)] == [("a", START + 60_000)]


def test_what_is_not_ours_is_passed_over_and_left_alone(tmp_path: Path) -> None:
    root = FootageRoot(tmp_path)
    good = root.recording("a", RecordingName(START, 1))
    _write(good, b"x")
    strangers = [good.parent / "notes.txt", root.recordings / "A B" / "2026-02-02" / good.name,
                 root.recordings / "a" / "2026-02-03" / good.name, root.recordings / "file"]  # fmt: skip
    for path in strangers:
        _write(path, b"y")
    link = good.with_name(RecordingName(START + 1, 1).file_name)
    link.symlink_to(good)
    assert [found.name.start_ms for found in recordings_of(root)["a"]] == [START]
    assert list(recordings_of(root)) == ["a"]
    assert all(path.exists() for path in strangers)


def test_a_root_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    root = FootageRoot(tmp_path / "none")
    assert recordings_of(root) == {}
    assert parts_of(root) == []
    assert manifest_of(root) == Manifest([], blake3(b"").hexdigest())


def test_the_manifest_lists_finished_files_with_their_hashes(tmp_path: Path) -> None:
    root = _filled(tmp_path)
    manifest = manifest_of(root)
    assert [entry.path for entry in manifest.entries] == files_of(root)
    assert len(manifest.entries) == 6
    for entry in manifest.entries:
        content = (tmp_path / entry.path).read_bytes()
        assert (entry.size, entry.blake3) == (len(content), blake3(content).hexdigest())
    assert manifest.total_bytes == sum(entry.size for entry in manifest.entries)


def test_one_flipped_bit_changes_the_digest(tmp_path: Path) -> None:
    root = _filled(tmp_path)
    before = manifest_of(root).digest
    path = tmp_path / files_of(root)[0]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    assert manifest_of(root).digest != before


def test_large_files_are_hashed_as_a_stream(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000
    (tmp_path / "f").write_bytes(content)
    assert hash_file(tmp_path / "f") == (len(content), blake3(content).hexdigest())


entries = st.lists(st.builds(ManifestEntry, st.text("abc/", min_size=1), st.integers(0, 9), st.text("01")))


@given(entries, st.randoms())
def test_the_digest_does_not_depend_on_the_order(found: list[ManifestEntry], random: object) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert manifest_of_entries(shuffled) == manifest_of_entries(found)


def test_a_day_that_is_removed_while_others_look_spoils_no_list(tmp_path, monkeypatch):
    # Retention removes empty days; a recorder that starts meanwhile must find all its unfinished files.
    root = _filled(tmp_path)
    empty = root.recordings / "a" / "2020-01-01"
    scandir = os.scandir

    def late(folder: os.PathLike[str] | str) -> object:
        if Path(folder) == empty:
            empty.rmdir()
        return scandir(folder)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", late)
        for look in (parts_of, recordings_of, lambda root: list(held_in(root))):
            empty.mkdir()
            assert look(root)
            assert not empty.exists()


def test_a_file_that_is_removed_while_others_look_is_not_listed(tmp_path: Path) -> None:
    root = FootageRoot(tmp_path)
    paths = [root.recording("a", RecordingName(START + number, 1)) for number in range(5)]
    for path in paths:
        _write(path, b"footage")
    found = held_in(root)
    first = next(found)
    for path in paths:
        if not first.path.endswith(path.name):
            path.unlink()
    assert list(found) == []
