"""The jobs of bringing footage home, as they are kept on disk to be gone on with after a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import structlog
from understudy_contracts.commands import FetchFootage
from understudy_contracts.errors import Unavailable
from understudy_contracts.ids import FailoverId, epoch_of
from understudy_contracts.machine import RestorationProgress

from understudy_recording_server.private_files import PRIVATE_FOLDER, CannotRead, read_private, write_private

FILE = "fetches.json"
KEPT = 20

JobState = Literal["running", "done", "stopped", "failed"]

log = structlog.get_logger()


class FetchJob(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was ordered, and how far it has come."""

    failover: FailoverId
    source: str
    grant: str
    bytes_per_second: int | None = None
    state: JobState = "running"
    files_total: int = 0
    files_verified: int = 0
    bytes_total: int = 0
    bytes_copied: int = 0
    missing: int = 0
    digest: str = ""
    reason: str = ""

    def __repr__(self) -> str:
        return f"FetchJob({self.failover!r}, {self.source!r}, {self.state!r})"

    @classmethod
    def ordered(cls, command: FetchFootage) -> FetchJob:
        return cls(command.failover, command.source, command.grant, command.bytes_per_second)

    def progress(self) -> RestorationProgress:
        return RestorationProgress(
            failover=self.failover,
            state=self.state,
            files_total=self.files_total,
            files_verified=self.files_verified,
            bytes_total=self.bytes_total,
            bytes_copied=self.bytes_copied,
            missing=self.missing,
            digest=self.digest,
            reason=self.reason,
        )


def newest(jobs: dict[str, FetchJob]) -> dict[str, FetchJob]:
    """The jobs worth keeping: those that run, and the last ones that have ended."""
    running = [failover for failover, job in jobs.items() if job.state == "running"]
    ended = sorted(set(jobs) - set(running), key=epoch_of)[-KEPT:]
    return {failover: jobs[failover] for failover in sorted((*running, *ended), key=epoch_of)}


def load_jobs(settings_folder: Path) -> dict[str, FetchJob]:
    """The jobs on disk. A damaged file is logged and passed by: the host orders again what is not done."""
    try:
        jobs = read_private(settings_folder / FILE, list[FetchJob]) or []
    except CannotRead as error:
        log.error("the list of restorations is lost", error=str(error))
        return {}
    return {job.failover: job for job in jobs}


def save_jobs(settings_folder: Path, jobs: dict[str, FetchJob]) -> None:
    """Raises:
    Unavailable: the disk said no.
    """
    try:
        settings_folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        write_private(settings_folder / FILE, msgspec.json.encode(list(newest(jobs).values())))
    except OSError as error:
        raise Unavailable(f"the machine cannot save its restorations: {error.strerror}") from None
