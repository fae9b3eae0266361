"""When recording begins: the data folder is ours alone, and what a crash had left becomes recordings."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from understudy_contracts.errors import ConfigurationError
from understudy_footage import FootageRoot, Part, make_folders, parts_of, recover

from understudy_recording_server.recorder.protocol import FileRecovered, Report, Trouble

LOCK_NAME = "recorder.lock"
LOCK_PATIENCE_S = 10.0
"""A recorder that is ending may still finish its files: the next one waits for it this long."""


def claim(data: FootageRoot) -> int:
    """Make sure that the data folder can be written, and that no other recorder uses it.

    Returns the descriptor that holds the lock until the process ends.

    Raises:
        ConfigurationError: it cannot be written, or another recorder keeps it.
    """
    try:
        make_folders(data.recordings)
        probe = data.recordings / f".probe-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
        # Read-only, so that the disk can be mounted read-only, to mend it, while no camera is recorded.
        lock = os.open(data.path / LOCK_NAME, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise ConfigurationError(
            f"cannot write to the data folder {data.path}: {error.strerror}; choose another with --data-dir"
        ) from None
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(lock)
                raise ConfigurationError(f"another recorder uses the data folder {data.path}") from None
            time.sleep(0.05)
        else:
            return lock


@dataclass(frozen=True)
class Left:
    """Unfinished files of one folder."""

    folder: str
    root: FootageRoot
    parts: list[Part]


def left_by_crash(data: FootageRoot, report: Callable[[Report], None]) -> list[Left]:
    """The unfinished files of every folder. To be asked before recording begins, which makes new ones.

    Raises:
        OSError: the folders cannot be listed.
    """
    found = []
    for folder in ["", *(f"failovers/{failover}" for failover in data.failovers())]:
        root = data.folder(folder)
        try:
            found.append(Left(folder, root, parts_of(root)))
        except OSError as error:
            report(Trouble(f"cannot look for unfinished files: {error.strerror}", folder))
    return found


def recover_all(data: FootageRoot, left: list[Left], report: Callable[[Report], None]) -> None:
    """Finish these files, and report each. What cannot be finished stays. For a thread of its own: a file of
    a minute takes 50 ms, which 90 cameras need not wait for."""
    for one in left:
        for part in one.parts:
            report(_recover(data, one.folder, one.root, part))


def _recover(data: FootageRoot, folder: str, root: FootageRoot, part: Part) -> Report:
    try:
        found = recover(root, part)
    except OSError as error:
        return Trouble(f"cannot recover {part.path.name}: {error.strerror}", folder, part.camera)
    return FileRecovered(
        folder,
        part.camera,
        None if found.path is None else _relative(found.path, data),
        found.start_ms,
        found.duration_ms,
        found.kept_bytes,
        found.cut_bytes,
    )


def _relative(path: Path, data: FootageRoot) -> str:
    return path.relative_to(data.path).as_posix()
