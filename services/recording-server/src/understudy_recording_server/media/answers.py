"""Answers of the media server, and what becomes of errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
import structlog
from aiohttp import web
from understudy_contracts.errors import UnderstudyError

from understudy_recording_server.media.access import problem, problem_of

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = structlog.get_logger()


def handled(handler: Handler) -> Handler:
    """The handler, with errors answered in one clear sentence."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except UnderstudyError as error:
            return problem_of(error)
        except OSError as error:
            if isinstance(error, ConnectionError):
                raise
            log.error("footage cannot be read", error=error.strerror or type(error).__name__)
            return problem(503, "unavailable", f"the footage cannot be read: {error.strerror}")

    return handle


def json(value: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")
