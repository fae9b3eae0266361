"""Bringing one failover's footage home: list, files several at a time, each verified, again and again until
all is here or something is found that trying again cannot mend."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor
from typing import TypeVar

import aiohttp
import msgspec
import structlog
from understudy_footage import FootageRoot, InvalidFootageName, Manifest
from understudy_runtime.retry import pauses

from understudy_recording_server.restoring.incoming import Damaged, IncomingFile
from understudy_recording_server.restoring.jobs import FetchJob
from understudy_recording_server.restoring.rate_limit import RateLimit
from understudy_recording_server.restoring.source_client import (
    CHUNK_BYTES,
    SourceClient,
    SourceTrouble,
    StillHashing,
)

AT_ONCE = 4
TRIES = 3
"""How often something that arrives damaged is fetched anew before it is given up."""
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0
HASHING_PAUSE_S = 0.5

R = TypeVar("R")
log = structlog.get_logger()


class DiskTrouble(Exception):
    """This machine's disk does not take it now; the text is for people."""


class Hopeless(Exception):
    """What trying again cannot mend; the text is for people."""


class FetchRun:
    """One run of a job. `job` is its present state, which others may read at any time and whose orders
    (source, grant, rate) they may change; `hurry` ends a pause early."""

    def __init__(
        self,
        data: FootageRoot,
        job: FetchJob,
        session: aiohttp.ClientSession,
        threads: Executor,
        noted: Callable[[], None],
        tidy: Callable[[], Awaitable[None]],
    ) -> None:
        self.job = job
        self._tidy = tidy
        self._threads = threads
        self._data = data
        self._session = session
        self._noted = noted
        self._hurry = asyncio.Event()
        self._rate = RateLimit(lambda: self.job.bytes_per_second)
        self._copied: dict[str, int] = {}
        self._given_up: dict[str, str] = {}

    def order(self, job: FetchJob) -> None:
        """Go on under a new order of the same job."""
        self.job = msgspec.structs.replace(
            self.job, source=job.source, grant=job.grant, bytes_per_second=job.bytes_per_second
        )
        self._hurry.set()

    async def run(self) -> None:
        """Until the job is done or failed; afterwards `job` says which."""
        try:
            manifest = await self._manifest()
            files = self._files(manifest)
        except Hopeless as error:
            self._note(state="failed", reason=str(error))
            return
        self._note(files_total=len(files), bytes_total=manifest.total_bytes, reason="")
        waiting = iter(files)
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._bring_all(waiting))
        if self._given_up:
            path, reason = next(iter(self._given_up.items()))
            text = f"{len(self._given_up)} files did not come home, such as {path}: {reason}"
            self._note(state="failed", reason=text, missing=len(self._given_up))
        else:
            await self._tidy()
            # Told only now: the source may be cleared against it.
            self._note(state="done", reason="", digest=manifest.digest)

    async def _manifest(self) -> Manifest:
        waiting = pauses(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        damaged = 0
        while True:
            try:
                return await self._client().manifest()
            except StillHashing as error:
                self._note(reason=str(error))
                await self._pause(HASHING_PAUSE_S)
                continue
            except SourceTrouble as error:
                self._trouble(str(error))
            except Damaged as error:
                damaged += 1
                if damaged == TRIES:
                    raise Hopeless(str(error)) from None
                self._trouble(str(error))
            await self._pause(next(waiting))

    def _files(self, manifest: Manifest) -> list[IncomingFile]:
        """Raises:
        Hopeless: the manifest names what is no footage, or the same file twice.
        """
        try:
            files = [IncomingFile(self._data, self.job.failover, entry) for entry in manifest.entries]
        except InvalidFootageName as error:
            raise Hopeless(f"the manifest names a file that is no footage: {error.message}") from None
        if len({file.final for file in files}) != len(files):
            raise Hopeless("the manifest names a file twice")
        if any(entry.size < 0 for entry in manifest.entries):
            raise Hopeless("the manifest names a file of negative size")
        return files

    async def _bring_all(self, files: Iterator[IncomingFile]) -> None:
        for file in files:
            try:
                await self._bring(file)
            finally:
                file.close()

    async def _bring(self, file: IncomingFile) -> None:
        waiting = pauses(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        path, damaged, copied_before = file.entry.path, 0, 0
        while True:
            try:
                await self._try(file)
            except (SourceTrouble, DiskTrouble) as error:
                self._trouble(str(error))
            except Damaged as error:
                damaged += 1
                log.warning("file damaged", failover=self.job.failover, file=path, reason=str(error))
                if damaged == TRIES or file.is_unreadable:
                    self._given_up[path] = str(error)
                    self._note(missing=len(self._given_up))
                    return
                self._trouble(f"{path} arrived damaged: {error}")
            else:
                self._copied[path] = file.entry.size
                self._note(files_verified=self.job.files_verified + 1, reason="")
                return
            if file.size > copied_before:
                copied_before, waiting = file.size, pauses(FIRST_PAUSE_S, LONGEST_PAUSE_S)
            await self._pause(next(waiting))

    async def _try(self, file: IncomingFile) -> None:
        if await self._on_disk(file.is_home):
            return
        if file.is_unreadable:
            raise Damaged("the failover server's disk cannot read it")
        await self._on_disk(file.open)
        self._copied[file.entry.path] = file.size
        if file.size < file.entry.size:
            await self._copy(file)
        if file.size < file.entry.size:
            raise SourceTrouble("the failover server ended the file too early")
        await self._on_disk(file.finish)

    async def _copy(self, file: IncomingFile) -> None:
        async with self._client().file(file.entry, file.size) as (begins, content):
            if begins != file.size:
                await self._on_disk(file.begin_again)
            chunk_bytes = self._rate.chunk_bytes(CHUNK_BYTES)
            async for chunk in content.iter_chunked(chunk_bytes):
                await self._rate.take(len(chunk))
                await self._on_disk(file.write, chunk)
                self._copied[file.entry.path] = file.size
                self._count()

    def _client(self) -> SourceClient:
        return SourceClient(self._session, self.job.source, self.job.failover, self.job.grant)

    def _trouble(self, reason: str) -> None:
        if reason != self.job.reason:
            log.warning("footage cannot be fetched now", failover=self.job.failover, reason=reason)
            self._note(reason=reason)

    def _count(self) -> None:
        self.job = msgspec.structs.replace(self.job, bytes_copied=sum(self._copied.values()))

    def _note(self, **changes: object) -> None:
        self.job = msgspec.structs.replace(self.job, **changes)
        self._count()
        self._noted()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
        except TimeoutError:
            return
        self._hurry.clear()

    async def _on_disk(self, work: Callable[..., R], *arguments: bytes) -> R:
        """Work on this machine's disk, in a thread.

        Raises:
            DiskTrouble: the disk said no.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise DiskTrouble("the recording server's disk is full") from None
            raise DiskTrouble(f"the recording server's disk refuses: {error.strerror or error}") from None
