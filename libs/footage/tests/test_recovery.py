import errno
import io
import os
import struct
import subprocess
import sys
from pathlib import Path

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from understudy_footage import (
    FootageRoot,
    RecordingName,
    copies_of,
    make_folders,
    parts_of,
    recordings_of,
    recover,
    whole_part,
)
from understudy_footage.fragments import whole_part_of_file

START = 1770000000123


def _frames(content: bytes) -> int:
    with av.open(io.BytesIO(content)) as container:
        return sum(1 for _ in container.decode(video=0))


def _left_behind(tmp_path: Path, content: bytes) -> FootageRoot:
    root = FootageRoot(tmp_path)
    part = root.part("gate", START)
    make_folders(part.parent)
    part.write_bytes(content)
    return root


def test_a_complete_file_is_whole_to_its_end(mp4: bytes) -> None:
    whole = whole_part(mp4)
    assert whole is not None
    assert (whole.length, whole.frames, whole.duration_ms) == (len(mp4), 20, 800)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_file_cut_at_any_byte_keeps_each_whole_frame(mp4: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(mp4)))
    whole = whole_part(mp4[:cut])
    if whole is None:
        # No frame can be whole before the header and the first fragment are.
        first = whole_part(mp4[: cut + 4000])
        assert first is None or first.length > cut
        return
    assert whole.length <= cut
    assert whole.duration_ms == whole.frames * 40
    assert _frames(mp4[: whole.length]) == whole.frames


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_corrupt_bytes_never_raise_and_never_lengthen(mp4: bytes, data: st.DataObject) -> None:
    content = bytearray(mp4)
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, min(len(content) - 1, 3000)))] = data.draw(st.integers(0, 255))
    whole = whole_part(bytes(content))
    assert whole is None or (whole.length <= len(content) and whole.frames > 0)


@given(st.binary(max_size=400))
def test_any_bytes_are_judged(content: bytes) -> None:
    whole = whole_part(content)
    assert whole is None or whole.length <= len(content)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_nothing_behind_a_bad_sector_is_cut_off(
    tmp_path: Path, mp4: bytes, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    root = _left_behind(tmp_path, mp4 + b"torn")
    [part] = parts_of(root)
    bad = int(len(mp4) * share) // 512 * 512
    pread = os.pread

    def sick(descriptor: int, count: int, at: int) -> bytes:
        """What comes before a bad sector is given out, without a word about it."""
        if bad - count < at < bad + 512:
            if at >= bad:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            count = bad - at
        return pread(descriptor, count, at)

    monkeypatch.setattr(os, "pread", sick)
    found = recover(root, part, despite_errors=True)
    assert found.path is not None
    # Small frames: there is a header in each sector.
    assert (found.kept_bytes, found.cut_bytes) == (len(mp4) + 4, 0)
    assert 0 < found.duration_ms < 800
    assert found.path.read_bytes() == mp4 + b"torn"


def test_a_file_whose_beginning_cannot_be_read_is_named_only_when_nothing_else_helps(
    tmp_path: Path, mp4: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = _left_behind(tmp_path, mp4)
    [part] = parts_of(root)

    def sick(descriptor: int, count: int, at: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pread", sick)
    with pytest.raises(OSError, match="Input/output"):
        recover(root, part)
    assert part.path.read_bytes() == mp4
    # Else nothing of its failover would come home. That there are frames in it, nobody can tell.
    found = recover(root, part, despite_errors=True)
    assert (found.kept_bytes, found.cut_bytes, found.duration_ms) == (len(mp4), 0, 0)
    assert found.path is not None
    assert found.path.read_bytes() == mp4
    assert parts_of(root) == []


def test_zeros_after_a_power_cut_are_cut_off(tmp_path: Path, mp4: bytes) -> None:
    cut = whole_part(mp4[: len(mp4) // 2])
    assert cut is not None
    root = _left_behind(tmp_path, mp4[: cut.length] + bytes(10_000))
    [part] = parts_of(root)
    recovered = recover(root, part)
    assert recovered.kept_bytes == cut.length
    assert recovered.cut_bytes == 10_000


def test_a_large_size_field_beyond_the_end_is_not_followed(mp4: bytes) -> None:
    whole = whole_part(mp4 + struct.pack(">I4sQ", 1, b"mdat", 2**63))
    assert whole is not None
    assert whole.length == len(mp4)


@pytest.mark.parametrize("share", [0.4, 0.7, 1.0])
def test_what_was_being_written_becomes_a_recording(tmp_path: Path, mp4: bytes, share: float) -> None:
    content = mp4[: int(len(mp4) * share)]
    root = _left_behind(tmp_path, content)
    [part] = parts_of(root)
    recovered = recover(root, part)
    assert recovered.path is not None
    kept = recovered.path.read_bytes()
    assert content.startswith(kept)
    assert _frames(kept) * 40 == recovered.duration_ms > 0
    assert recovered.kept_bytes + recovered.cut_bytes == len(content)
    assert parts_of(root) == []
    assert [found.name for found in recordings_of(root)["gate"]] == [
        RecordingName(START, recovered.duration_ms)
    ]


@pytest.mark.parametrize("length", [0, 7, 500])
def test_a_file_without_one_whole_frame_is_removed_and_reported(
    tmp_path: Path, mp4: bytes, length: int
) -> None:
    root = _left_behind(tmp_path, mp4[:length])
    [part] = parts_of(root)
    recovered = recover(root, part)
    assert recovered.path is None
    assert (recovered.kept_bytes, recovered.cut_bytes) == (0, length)
    assert parts_of(root) == []
    assert recordings_of(root) == {}


SHRINKING = """
import os, sys
from pathlib import Path
from understudy_footage import FootageRoot, fragments, parts_of, recover
root = FootageRoot(Path(sys.argv[1]))
[part] = parts_of(root)
video_track = fragments._video_track
def gone(*arguments):
    os.truncate(part.path, 0)
    return video_track(*arguments)
fragments._video_track = gone
assert recover(root, part).path is None
"""


def test_content_that_goes_while_it_is_read_does_not_kill_the_recorder(tmp_path: Path, mp4: bytes) -> None:
    # A page behind the end of a file is to a mapping what a bad sector is: SIGBUS, at each start again.
    _left_behind(tmp_path, mp4)
    done = subprocess.run([sys.executable, "-c", SHRINKING, str(tmp_path)], check=False, timeout=60)
    assert done.returncode == 0


def test_a_bad_sector_leaves_the_file_as_it_is(
    tmp_path: Path, mp4: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = _left_behind(tmp_path, mp4)
    [part] = parts_of(root)
    pread = os.pread

    def sick(descriptor: int, count: int, offset: int) -> bytes:
        if offset > len(mp4) // 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(descriptor, count, offset)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", sick)
        with pytest.raises(OSError, match="Input/output"):
            recover(root, part)
    assert part.path.read_bytes() == mp4


@given(cut=st.integers(0, 20_000))
def test_a_file_is_judged_as_its_bytes_are(
    tmp_path_factory: pytest.TempPathFactory, mp4: bytes, cut: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "judged"
    path.write_bytes(mp4[:cut])
    with path.open("rb") as file:
        assert whole_part_of_file(file.fileno()) == (min(cut, len(mp4)), whole_part(mp4[:cut]))


def test_no_recording_takes_the_place_of_another(tmp_path: Path, mp4: bytes) -> None:
    # The clock was set back by an hour: what is being written began when another file did.
    root = _left_behind(tmp_path, mp4)
    earlier = [root.recording("gate", RecordingName(START + number, 800)) for number in range(2)]
    for path in earlier:
        path.write_bytes(b"earlier footage")
    [part] = parts_of(root)
    recovered = recover(root, part)
    assert (recovered.start_ms, recovered.path) == (
        START + 2,
        root.recording("gate", RecordingName(START + 2, 800)),
    )
    assert [path.read_bytes() for path in earlier] == [b"earlier footage"] * 2


@pytest.mark.parametrize("place", range(8))
def test_what_is_written_anew_is_there_once_wherever_it_is_interrupted(
    tmp_path: Path, mp4: bytes, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    root = _left_behind(tmp_path, mp4)
    [part] = parts_of(root)
    steps = 0

    def ends_at(place: int, name: str) -> None:
        call = getattr(os, name)

        def interrupted(*arguments: object) -> object:
            nonlocal steps
            steps += 1
            # What comes after it is as if the process had been killed: nothing is tidied up.
            if steps > place:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return call(*arguments)

        monkeypatch.setattr(os, name, interrupted)

    for name in ("fsync", "rename", "replace", "unlink"):
        ends_at(place, name)
    try:
        recover(root, part, anew=True)
    except OSError:
        assert steps > place
    monkeypatch.undo()
    # The recorder tries again, or starts anew.
    for left in parts_of(root):
        recover(root, left, anew=True)
    for copy in copies_of(root):
        copy.unlink()
    [file] = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert file == root.recording("gate", RecordingName(START, 800))
    assert file.read_bytes() == mp4
