"""What a machine must not forget is on its disk twice."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from understudy_recording_server.private_files import CannotRead, read_twice, remove_twice, write_twice

OLD, NEW = {"kept": 1}, {"kept": 2}
DAMAGES = [b"", b"{", b"[]", b"\xff\x00", b"[" * 99_999, None]


def write(path: Path, content: dict[str, int]) -> None:
    write_twice(path, msgspec.json.encode(content))


def read(path: Path) -> dict[str, int] | None:
    return read_twice(path, dict[str, int])


def damage(path: Path, how: bytes | None) -> None:
    """None: the disk does not give it at all."""
    if how is None:
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(how)


def fail_after(step: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Of the calls to what it wraps, only so many succeed."""
    steps = itertools.count()

    def wrapped(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            if next(steps) >= step:
                raise OSError(errno.EIO, "Input/output error")
            return real(*arguments, **more)

        return call

    return wrapped


@contextlib.contextmanager
def failing_after(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The disk takes only so many more steps."""
    wrapped = fail_after(step)
    with monkeypatch.context() as sick:
        sick.setattr(os, "fsync", wrapped(os.fsync))
        for name in ("replace", "unlink"):
            sick.setattr(Path, name, wrapped(getattr(Path, name)))
        yield


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kept.json"


@pytest.fixture
def copy(path: Path) -> Path:
    return path.with_name(".kept.json.copy")


@pytest.mark.parametrize("how", DAMAGES[:-1])
def test_either_may_be_lost_and_is_written_again(path: Path, copy: Path, how: bytes) -> None:
    write(path, OLD)
    for lost in (path, copy, path):
        damage(lost, how)
        assert read(path) == OLD
        assert path.read_bytes() == copy.read_bytes() == msgspec.json.encode(OLD)
    assert {oct(each.stat().st_mode & 0o777) for each in (path, copy)} == {"0o600"}


def test_one_that_the_disk_does_not_give_is_not_needed(path: Path, copy: Path) -> None:
    for lost in (path, copy):
        write(path, OLD)
        damage(lost, None)
        assert read(path) == OLD
        lost.rmdir()


@pytest.mark.parametrize("how", DAMAGES)
def test_if_both_are_lost_that_is_said(path: Path, copy: Path, how: bytes | None) -> None:
    write(path, OLD)
    damage(path, how)
    damage(copy, how)
    with pytest.raises(CannotRead, match=r"kept\.json"):
        read(path)


def test_what_a_person_has_removed_does_not_come_back(path: Path, copy: Path) -> None:
    assert read(path) is None
    write(path, OLD)
    path.unlink()
    assert read(path) is None
    write(path, NEW)
    assert read(path) == NEW
    remove_twice(path)
    remove_twice(path)
    assert not path.exists()
    assert not copy.exists()


def test_a_file_from_before_there_were_copies_gets_one(path: Path, copy: Path) -> None:
    path.write_bytes(msgspec.json.encode(OLD))
    assert read(path) == OLD
    path.write_bytes(b"")
    assert read(path) == OLD


@pytest.mark.parametrize("step", range(5))
def test_a_write_that_the_disk_ends_leaves_the_old_or_the_new(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Two files, each synced and named, and their folder synced."""
    write(path, OLD)
    with failing_after(step, monkeypatch), pytest.raises(OSError, match="Input/output"):
        write(path, NEW)
    assert read(path) == (OLD if step < 4 else NEW)
    write(path, NEW)
    assert read(path) == NEW


@pytest.mark.parametrize("synced", range(2))
def test_what_the_disk_refused_is_not_believed_when_the_file_is_lost_later(
    path: Path, monkeypatch: pytest.MonkeyPatch, synced: int
) -> None:
    """A disk that was full, with room for one of the two."""
    write(path, OLD)
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", fail_after(synced)(os.fsync))
        with pytest.raises(OSError, match="Input/output"):
            write(path, NEW)
    damage(path, b"")
    assert read(path) == OLD


@pytest.mark.parametrize("step", range(4))
def test_a_removal_that_the_disk_ends_leaves_no_copy_alone(
    path: Path, copy: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Two files unlinked, their folder synced after each."""
    write(path, OLD)
    with failing_after(step, monkeypatch), pytest.raises(OSError, match="Input/output"):
        remove_twice(path)
    assert path.exists() or not copy.exists()
    remove_twice(path)
    assert not path.exists()
    assert not copy.exists()
