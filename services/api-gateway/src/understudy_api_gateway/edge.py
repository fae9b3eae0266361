"""What every request and every answer goes through, whatever handles it: limits and headers."""

from __future__ import annotations

import asyncio
from typing import Any

from litestar.types import ASGIApp, Receive, Send
from understudy_contracts.errors import InvalidInput
from understudy_runtime.telemetry import span

from understudy_api_gateway.bodies import MAXIMUM_BYTES, MAXIMUM_BYTES_WITHOUT_LOGIN, check_body
from understudy_api_gateway.idempotency import Idempotency
from understudy_api_gateway.parts import Parts
from understudy_api_gateway.problems import TooLarge

# A reader that takes nothing for this long is cut off.
READER_PATIENCE_S = 20.0
SLOWEST_BODY_S = 30.0

_READING = {"GET", "HEAD", "OPTIONS"}
_WITHOUT_LOGIN = {"/api/v1/session", "/api/v1/join"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "media-src 'self' blob:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


class Edge:
    """Wraps the whole application."""

    def __init__(self, application: ASGIApp, parts: Parts, idempotency: Idempotency) -> None:
        self._application = application
        self._parts = parts
        self._idempotency = idempotency

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._application(scope, receive, send)
            return
        answer = _Answer(scope, send, self._parts, self._idempotency)
        body = _GuardedBody(scope, receive)
        if scope["method"] in _READING:
            await self._application(scope, body, answer)
            return
        # A change is the beginning of a trace, or part of the caller's.
        given = dict(scope["headers"]).get(b"traceparent", b"").decode("latin-1")
        with span(f"{scope['method']} {scope['path']}", traceparent=given):
            await self._application(scope, body, answer)


class _GuardedBody:
    """Reads the body as a whole when it is first asked for, within limits, and judges it."""

    def __init__(self, scope: Any, receive: Receive) -> None:
        without_login = scope["path"].rstrip("/") in _WITHOUT_LOGIN
        self._limit = MAXIMUM_BYTES_WITHOUT_LOGIN if without_login else MAXIMUM_BYTES
        self._receive = receive
        self._given = False

    async def __call__(self) -> Any:
        if self._given:
            return await self._receive()
        body = bytearray()
        try:
            async with asyncio.timeout(SLOWEST_BODY_S):
                while True:
                    message: Any = await self._receive()
                    if message["type"] != "http.request":
                        return message
                    body += message.get("body", b"")
                    if len(body) > self._limit:
                        raise TooLarge(f"the body is larger than {self._limit // 1024} KiB")
                    if not message.get("more_body", False):
                        break
        except TimeoutError:
            raise InvalidInput(f"the body did not arrive within {SLOWEST_BODY_S:g} s") from None
        check_body(bytes(body))
        self._given = True
        return {"type": "http.request", "body": bytes(body), "more_body": False}


class _Answer:
    """Adds headers, counts, keeps answers for their idempotency key, and cuts off who does not read."""

    def __init__(self, scope: Any, send: Send, parts: Parts, idempotency: Idempotency) -> None:
        self._scope = scope
        self._send = send
        self._parts = parts
        self._idempotency = idempotency
        self._status = 0
        self._media_type = ""
        self._body = bytearray()
        self._reading = scope["method"] in _READING

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            message = self._begin(message)
        elif not self._reading:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                # Before the client has it: who then asks again with the same key gets it again.
                await self._idempotency.after(self._scope, self._status, self._media_type, bytes(self._body))
        async with asyncio.timeout(READER_PATIENCE_S):
            await self._send(message)

    def _begin(self, message: Any) -> Any:
        self._status = message["status"]
        headers = list(message.get("headers", []))
        self._media_type = next(
            (value.decode("latin-1") for name, value in headers if name.lower() == b"content-type"), ""
        )
        self._parts.metrics.requests.labels(self._scope["method"], str(self._status)).inc()
        caching = b"no-store" if self._scope["path"].startswith("/api/") else b"no-cache"
        kept = [entry for entry in headers if entry[0].lower() != b"cache-control"]
        return {**message, "headers": [*kept, *_HEADERS, (b"cache-control", caching)]}
