"""All restorations of this machine: ordered, stopped, gone on with after a restart."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import msgspec
import structlog
from understudy_contracts.commands import FetchFootage
from understudy_contracts.errors import Unavailable
from understudy_contracts.machine import RestorationProgress
from understudy_footage import FootageRoot

from understudy_recording_server.restoring.incoming import part_folder
from understudy_recording_server.restoring.jobs import FetchJob, load_jobs, newest, save_jobs
from understudy_recording_server.restoring.run import AT_ONCE, FetchRun
from understudy_recording_server.restoring.source_client import open_session
from understudy_recording_server.settings_store import SETTINGS_FOLDER

PROGRESS_S = 0.25

log = structlog.get_logger()


class Fetcher:
    """`said` is called with the progress of a restoration, at most four times a second, and at its end."""

    def __init__(self, data_dir: Path, said: Callable[[RestorationProgress], None]) -> None:
        self._data = FootageRoot(data_dir)
        self._settings = data_dir / SETTINGS_FOLDER
        self._said = said
        self._jobs: dict[str, FetchJob] = {}
        self._runs: dict[str, FetchRun] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._session: aiohttp.ClientSession | None = None
        # Of their own, so that saving a duty never waits behind a transfer.
        self._threads = ThreadPoolExecutor(2 * AT_ONCE, "fetch")

    def load(self) -> None:
        """Read the jobs and go on with those that were running."""
        self._jobs = load_jobs(self._settings)
        for job in self._jobs.values():
            if job.state == "running":
                self._begin(job)

    def progress(self) -> list[RestorationProgress]:
        """How far every job is that is not forgotten yet."""
        return [self._now(job).progress() for job in newest(self._jobs).values()]

    async def start(self, command: FetchFootage, *, repeated: bool) -> None:
        """Start a job, or go on with it under this order. A repeat of the order leaves alone what has ended
        well or was stopped.

        Raises:
            Unavailable: the order cannot be saved.
        """
        failover, order = command.failover, FetchJob.ordered(command)
        before = self._jobs.get(failover)
        if repeated and before is not None and before.state in {"done", "stopped"}:
            return
        run = self._runs.get(failover)
        if run is not None:
            self._jobs[failover] = order
            await self._save()
            run.order(order)
            return
        self._jobs[failover] = order
        await self._save()
        self._begin(order)

    async def stop(self, failover: str) -> None:
        """Fetch no more; what is verified stays, parts are removed.

        Raises:
            Unavailable: the disk said no.
        """
        job = self._jobs.get(failover)
        if job is not None and job.state != "done":
            self._jobs[failover] = msgspec.structs.replace(self._now(job), state="stopped", reason="")
            await self._save()
        await self._cancel(failover)
        await self._remove_parts(failover)
        if failover in self._jobs:
            self._said(self._jobs[failover].progress())

    async def forget(self) -> None:
        """The machine is being erased: every job ends and is forgotten; its files go with all others."""
        for failover in list(self._tasks):
            await self._cancel(failover)
        self._jobs = {}

    async def close(self) -> None:
        """Interrupt what runs; it is gone on with at the next start."""
        for failover in list(self._tasks):
            await self._cancel(failover)
        if self._session is not None:
            await self._session.close()
        self._threads.shutdown(wait=False)

    def _begin(self, job: FetchJob) -> None:
        if self._session is None:
            self._session = open_session()
        # Counted anew from what is on the disk.
        fresh = FetchJob(job.failover, job.source, job.grant, job.bytes_per_second)
        news = asyncio.Event()
        run = FetchRun(
            self._data,
            fresh,
            self._session,
            self._threads,
            news.set,
            tidy=lambda: self._remove_parts(job.failover),
        )
        self._runs[job.failover] = run
        self._tasks[job.failover] = asyncio.create_task(
            self._carry_through(run, news), name=f"fetch {job.failover}"
        )

    async def _carry_through(self, run: FetchRun, news: asyncio.Event) -> None:
        failover = run.job.failover
        telling = asyncio.create_task(self._tell(run, news))
        try:
            await run.run()
        except asyncio.CancelledError:
            raise
        except Exception:
            # Whatever it is, the host must hear that this restoration does not go on.
            log.exception("restoration failed", failover=failover)
            run.job = msgspec.structs.replace(
                run.job, state="failed", reason="the recording server failed; its log says why"
            )
        finally:
            telling.cancel()
        self._jobs[failover] = run.job
        self._runs.pop(failover, None)
        self._tasks.pop(failover, None)
        log.info("restoration ended", failover=failover, state=run.job.state, files=run.job.files_verified)
        with contextlib.suppress(Unavailable):
            # Not saved: at the next start it runs again and finds everything here.
            await self._save()
        self._said(run.job.progress())

    async def _tell(self, run: FetchRun, news: asyncio.Event) -> None:
        while True:
            await news.wait()
            news.clear()
            self._said(run.job.progress())
            await asyncio.sleep(PROGRESS_S)

    def _now(self, job: FetchJob) -> FetchJob:
        run = self._runs.get(job.failover)
        return run.job if run is not None else job

    async def _cancel(self, failover: str) -> None:
        task = self._tasks.pop(failover, None)
        self._runs.pop(failover, None)
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _remove_parts(self, failover: str) -> None:
        folder = part_folder(self._data, failover)
        try:
            await asyncio.to_thread(shutil.rmtree, folder)
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("parts cannot be removed", failover=failover, error=error.strerror)

    async def _save(self) -> None:
        self._jobs = newest(self._jobs)
        await asyncio.to_thread(save_jobs, self._settings, dict(self._jobs))
