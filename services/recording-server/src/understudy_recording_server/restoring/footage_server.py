"""Serves the footage of failovers to those whom the host has granted it; checked without asking anyone."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog
from aiohttp import web
from understudy_contracts.errors import Conflict, InvalidId, InvalidInput, Refused
from understudy_contracts.ids import epoch_of
from understudy_footage import FootagePath, FootageRoot, read_at
from understudy_runtime.clock import Clock
from understudy_runtime.grants import verify_grant

from understudy_recording_server.identity import AgentRecord
from understudy_recording_server.media.server import MediaServer
from understudy_recording_server.peers import ALIVE_PATH, Alive
from understudy_recording_server.restoring.manifests import Manifests

FETCH_PURPOSE = "fetch"
HASHING_S = 10.0
"""How long a request for a manifest is kept waiting before the other side is told to come again."""
READ_BYTES = 1 << 20
CANNOT_READ = "the failover server's disk cannot read it"

log = structlog.get_logger()


class FootageServer:
    """GET only; anything but a footage path of that failover is answered with 400 or 404."""

    def __init__(
        self,
        data_dir: Path,
        record: Callable[[], AgentRecord],
        manifests: Manifests,
        clock: Clock,
        alive: Callable[[], Alive],
    ) -> None:
        self._data = FootageRoot(data_dir)
        self._record = record
        self._manifests = manifests
        self._clock = clock
        self._alive = alive

    def application(self, media: MediaServer) -> web.Application:
        """Both servers on one address."""
        application = web.Application()
        application.router.add_get(ALIVE_PATH, self._tell_alive)
        application.router.add_get("/footage/{failover}/manifest", self._manifest)
        application.router.add_get("/footage/{failover}/files/{path:.*}", self._file)
        media.add_to(application.router)
        return application

    async def _tell_alive(self, _: web.Request) -> web.StreamResponse:
        return web.Response(body=msgspec.json.encode(self._alive()), content_type="application/json")

    async def _manifest(self, request: web.Request) -> web.StreamResponse:
        failover = request.match_info["failover"]
        if refusal := self._refusal(request, failover):
            return refusal
        task = self._manifests.begin(failover)
        await asyncio.wait({task}, timeout=HASHING_S)
        if not task.done():
            return web.Response(status=202, headers={"Retry-After": "1"})
        try:
            manifest = task.result()
        except Conflict as error:
            return _problem(409, error.message)
        except OSError as error:
            log.error("no manifest", failover=failover, error=error.strerror)
            return _problem(503, f"the footage cannot be read: {error.strerror}")
        return web.Response(body=msgspec.json.encode(manifest), content_type="application/json")

    async def _file(self, request: web.Request) -> web.StreamResponse:
        failover = request.match_info["failover"]
        if refusal := self._refusal(request, failover):
            return refusal
        root = self._data.failover(failover)
        try:
            path = root.join(FootagePath.parse(request.match_info["path"]).text)
        except InvalidInput as error:
            return _problem(404, error.message)
        if root.path.is_symlink() or not path.is_file():
            return _problem(404, "there is no such file")
        try:
            await asyncio.to_thread(_read_some, path, _begin_of(request))
        except OSError as error:
            log.error("a file of footage cannot be read", file=str(path), error=error.strerror)
            if error.errno != errno.EIO:
                return _problem(503, f"the footage cannot be read: {error.strerror}")
            # From when it could still be read: the next manifest is to say that it cannot.
            self._manifests.forget_hash(path)
            return _problem(410, CANNOT_READ)
        return web.FileResponse(path, chunk_size=READ_BYTES)

    def _refusal(self, request: web.Request, failover: str) -> web.Response | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return _problem(401, "a grant of the host is needed: Authorization: Bearer <grant>")
        try:
            epoch_of(failover)
        except InvalidId as error:
            return _problem(404, error.message)
        record = self._record()
        try:
            grant = verify_grant(
                token.strip(),
                record.trust.get(FETCH_PURPOSE, ""),
                purpose=FETCH_PURPOSE,
                machine=record.machine,
                now_ms=self._clock.wall_ms(),
            )
        except Refused as error:
            return _problem(403, error.message)
        if grant.failover != failover:
            return _problem(403, f"the grant is not for {failover}")
        return None


def _begin_of(request: web.Request) -> int:
    """The offset that is asked for; what is malformed is answered by whoever serves the file."""
    try:
        return max(0, request.http_range.start or 0)
    except ValueError:
        return 0


def _read_some(path: Path, begin: int) -> None:
    """Once an answer has begun, an error of the disk can only end it, like any that the network has.

    Raises:
        OSError: the disk cannot read what comes next.
    """
    with path.open("rb", buffering=0) as file:
        read_at(file.fileno(), READ_BYTES, min(begin, os.fstat(file.fileno()).st_size))


def _problem(status: int, detail: str) -> web.Response:
    body = msgspec.json.encode({"status": status, "detail": detail})
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return web.Response(status=status, body=body, content_type="application/problem+json", headers=headers)
