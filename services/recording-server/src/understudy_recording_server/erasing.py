"""Erasing a machine: only with a token that names it, and each token once (M1)."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Sequence
from pathlib import Path

from understudy_contracts.errors import Refused, Unavailable
from understudy_footage import fsync_folder
from understudy_runtime.grants import Grant, verify_grant

from understudy_recording_server.identity import AgentRecord

ERASE_PURPOSE = "erase"
ERASED_FOLDERS = ("recordings", "snapshots", "failovers", "incoming", "settings")
_DOOMED = ".erasing-"


def check_erase_token(token: str, record: AgentRecord, now_ms: int) -> Grant:
    """The grant in `token`, which must not have been used before.

    Raises:
        Refused: not signed by this host, for another machine, expired, or used already.
    """
    key = record.trust.get(ERASE_PURPOSE, "")
    grant = verify_grant(token, key, purpose=ERASE_PURPOSE, machine=record.machine, now_ms=now_ms)
    check_unused(grant, record.used_serials)
    return grant


def check_unused(grant: Grant, used_serials: Sequence[str]) -> None:
    """Raises:
    Refused: a token without a serial, or one that was used.
    """
    if not grant.serial:
        raise Refused("the erase token has no serial, so it cannot be told from one that was used")
    if grant.serial in used_serials:
        raise Refused("the erase token was used already: each erases once")


def erase(data_dir: Path) -> None:
    """Remove all footage and all settings; the machine's identity and its fences stay.

    Safe to repeat after a crash. Nothing is half there for others to see: each folder first loses its name.

    Raises:
        Unavailable: the disk said no; repeating goes on where it ended.
    """
    try:
        for name in ERASED_FOLDERS:
            remove_folder(data_dir / name, _DOOMED)
        for left in data_dir.glob(f"{_DOOMED}*"):
            shutil.rmtree(left)
    except OSError as error:
        raise Unavailable(f"the machine cannot erase its footage: {error.strerror}") from None


def remove_folder(folder: Path, doomed_prefix: str) -> None:
    """Remove a folder as a whole: it is there, or it is not, whenever the power goes.

    Raises:
        OSError: the disk said no.
    """
    doomed = folder.with_name(doomed_prefix + folder.name)
    if doomed.exists():
        shutil.rmtree(doomed)
    try:
        folder.rename(doomed)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        # A disk of its own keeps its name, and loses what is on it.
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        fsync_folder(folder)
        return
    fsync_folder(folder.parent)
    shutil.rmtree(doomed)
