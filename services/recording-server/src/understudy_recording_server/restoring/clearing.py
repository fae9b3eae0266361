"""Removing a failover's folder: only what the receiver has verified, or what is given up on purpose (P10)."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import structlog
from understudy_contracts.commands import ClearFootage
from understudy_contracts.errors import Conflict, InvalidInput, Unavailable
from understudy_footage import FootageRoot, Manifest

from understudy_recording_server.erasing import remove_folder
from understudy_recording_server.restoring.manifests import Manifests

DOOMED = ".clearing-"

log = structlog.get_logger()


async def clear(data_dir: Path, command: ClearFootage, manifests: Manifests) -> None:
    """Carry out the command; a folder that is gone is cleared already.

    Raises:
        InvalidInput: neither a digest nor the word that footage is given up.
        Conflict: the folder is not what was verified; nothing was removed.
        Unavailable: the disk said no.
    """
    if command.verified_digest is None and not command.discard:
        raise InvalidInput(
            "clearing needs the digest that was verified, or the word that footage is discarded"
        )
    folder = FootageRoot(data_dir).failover(command.failover).path
    try:
        if folder.exists() and not command.discard:
            manifest = await manifests.of(command.failover)
            await asyncio.to_thread(check_verified, folder, manifest, command)
        await asyncio.to_thread(remove_folder, folder, DOOMED)
    except OSError as error:
        raise Unavailable(f"cannot clear {command.failover}: {error.strerror}") from None
    manifests.forget(command.failover)
    log.info("footage cleared", failover=command.failover, discarded=command.discard)


def check_verified(folder: Path, manifest: Manifest, command: ClearFootage) -> None:
    """Raises:
    Conflict: the folder holds other files than the receiver verified, and which.
    OSError: a folder in it cannot be read, so that nobody knows.
    """
    if manifest.digest != command.verified_digest:
        raise Conflict(
            f"the folder of {command.failover} is not what was verified: it holds "
            f"{len(manifest.entries)} files of {manifest.total_bytes} bytes, digest {manifest.digest}",
            digest=manifest.digest,
            files=len(manifest.entries),
        )
    listed = {entry.path for entry in manifest.entries}
    for where, folders, files in os.walk(folder, onerror=_unreadable):
        links = [name for name in folders if (Path(where) / name).is_symlink()]
        for name in (*files, *links):
            path = (Path(where) / name).relative_to(folder).as_posix()
            if path not in listed:
                raise Conflict(
                    f"the folder of {command.failover} holds {path!r}, which is no verified footage"
                )


def _unreadable(error: OSError) -> None:
    raise error


def finish_clearing(data_dir: Path) -> None:
    """Remove what a crash in the middle of clearing has left.

    Raises:
        OSError: the disk said no.
    """
    for left in (data_dir / "failovers").glob(f"{DOOMED}*"):
        shutil.rmtree(left)
