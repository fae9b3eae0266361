"""When recording begins: the data folder is ours alone, and what a crash had left becomes recordings."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from understudy_contracts.errors import ConfigurationError
from understudy_footage import FootageRoot, LostWrites, Part, Recovered, make_folders, parts_of, recover

from understudy_recording_server.recorder.finishing import LATER_S, PATIENT_ROUNDS
from understudy_recording_server.recorder.protocol import FileRecovered, Report, Trouble

LOCK_NAME = "recorder.lock"
LOCK_PATIENCE_S = 10.0
"""A recorder that is ending may still finish its files: the next one waits for it this long."""


def claim(data: FootageRoot) -> int:
    """Make sure that no other recorder uses the data folder. Whether its disk takes anything now is not
    asked: cameras are shown without it, and recorded once it does.

    Returns the descriptor that holds the lock until the process ends.

    Raises:
        ConfigurationError: it is not there and cannot be created, or another recorder keeps it.
    """
    try:
        make_folders(data.path)
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
    """The unfinished files of every folder that can be listed. To be asked before recording begins, which
    makes new ones."""
    folders = [""]
    try:
        folders += [f"failovers/{failover}" for failover in data.failovers()]
    except OSError as error:
        report(_not_listed(error, ""))
    found = []
    for folder in folders:
        root = data.folder(folder)
        try:
            found.append(Left(folder, root, parts_of(root)))
        except OSError as error:
            report(_not_listed(error, folder))
    return found


def _not_listed(error: OSError, folder: str) -> Trouble:
    return Trouble(f"cannot look for unfinished files: {error.strerror}", folder)


def recover_all(data: FootageRoot, left: list[Left], report: Callable[[Report], None], ending: Event) -> None:
    """Finish these files, and report each; what the disk refuses now is told once, and tried again until
    `ending`. For a thread of its own: a file of a minute takes 50 ms, which 90 cameras need not wait for."""
    waiting = [(one, part) for one in left for part in one.parts]
    lost: set[Path] = set()
    rounds = 0
    while waiting:
        refused: list[tuple[Left, Part]] = []
        for one, part in waiting:
            try:
                found = recover(
                    one.root, part, anew=part.path in lost, despite_errors=rounds >= PATIENT_ROUNDS
                )
            except FileNotFoundError:
                continue  # Somebody removed it.
            except OSError as error:
                if isinstance(error, LostWrites):
                    lost.add(part.path)
                refused.append((one, part))
                if not rounds:
                    reason = f"cannot recover {part.path.name}: {error.strerror}"
                    report(Trouble(reason, one.folder, part.camera))
            else:
                report(_told(data, one.folder, found))
        waiting = refused
        rounds += 1
        if waiting and ending.wait(LATER_S):
            return


def _told(data: FootageRoot, folder: str, found: Recovered) -> FileRecovered:
    return FileRecovered(
        folder,
        found.camera,
        None if found.path is None else found.path.relative_to(data.path).as_posix(),
        found.start_ms,
        found.duration_ms,
        found.kept_bytes,
        found.cut_bytes,
    )
