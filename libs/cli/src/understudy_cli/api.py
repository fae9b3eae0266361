"""The HTTP API as its client sees it."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import httpx
import httpx_sse
import msgspec
from understudy_contracts.errors import InvalidInput, Unavailable, UnderstudyError

DEFAULT_URL: Final = "http://127.0.0.1:8080"
PREFIX: Final = "/api/v1"
STREAM_OPEN: Final = "open"
CONFIRMATION_REQUIRED: Final = "confirmation-required"
_TIMEOUT_S: Final = 30.0
_SILENCE_S: Final = 30.0
"""The event stream speaks at least every ten seconds: after this long, nobody is there."""
_UNAUTHORIZED: Final = 401
_UNAVAILABLE: Final = {502, 503, 504}

Json = dict[str, Any]
Scalar = str | int | float | bool | None


class ApiProblem(UnderstudyError):
    """The API refused: `kind` is the problem's type, `status` the HTTP status, `details` its extensions."""

    code = "api-problem"

    def __init__(self, kind: str, status: int, message: str, extensions: Json) -> None:
        super().__init__(message)
        self.details = extensions
        self.kind = kind
        self.status = status


class Api:
    """A client, logged in with `token` or not. Use it as a context.

    Its methods raise ApiProblem if the API refuses, and Unavailable if it cannot be reached or asks to
    try again.
    """

    def __init__(self, url: str, token: str = "") -> None:
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise InvalidInput(f"{url[:80]!r} is no URL of the API: {error}") from None
        if parsed.scheme not in {"http", "https"} or not parsed.host:
            raise InvalidInput(f"{url[:80]!r} is no URL of the API: write it as {DEFAULT_URL}")
        self.url = url.rstrip("/")
        # The host is reached directly: a proxy of the environment would see the token.
        self._client = httpx.AsyncClient(
            base_url=f"{self.url}{PREFIX}/", timeout=_TIMEOUT_S, trust_env=False, follow_redirects=False
        )
        self.token = token

    async def __aenter__(self) -> Api:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def login(self, username: str, password: str) -> Json:
        """Log in, and use the session from here on. Returns `token`, `expires_at`, `user`."""
        session: Json = await self.post("/session", {"username": username, "password": password})
        self.token = str(session["token"])
        return session

    async def get(self, path: str, **query: Scalar) -> Any:
        return await self._request("GET", path, query=query)

    async def post(self, path: str, body: object = None) -> Any:
        return await self._request("POST", path, body=body)

    async def put(self, path: str, body: object, **query: Scalar) -> Any:
        return await self._request("PUT", path, body=body, query=query)

    async def delete(self, path: str, **query: Scalar) -> Any:
        return await self._request("DELETE", path, query=query)

    async def items(self, path: str, **query: Scalar) -> list[Any]:
        """All items of a list, page by page."""
        found: list[Any] = []
        cursor: Scalar = None
        while True:
            page = await self.get(path, **query, cursor=cursor)
            found.extend(page["items"])
            cursor = page.get("next")
            if not cursor:
                return found

    async def events(self, *, kinds: str = "", after: str = "") -> AsyncIterator[httpx_sse.ServerSentEvent]:
        """Events as they happen, from behind the one with the id `after`; ends when the connection does.

        The first, named `open` and without data, says that from here on none is missed."""
        headers = {**self._headers(), **({"Last-Event-ID": after} if after else {})}
        query = {"kinds": kinds} if kinds else {}
        timeout = httpx.Timeout(_TIMEOUT_S, read=_SILENCE_S)
        try:
            async with httpx_sse.aconnect_sse(
                self._client, "GET", "events", params=query, headers=headers, timeout=timeout
            ) as source:
                if source.response.is_error:
                    await source.response.aread()
                    raise _problem(source.response)
                yield httpx_sse.ServerSentEvent(event=STREAM_OPEN, id=after)
                async for event in source.aiter_sse():
                    yield event
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None

    async def _request(
        self, method: str, path: str, *, body: object = None, query: Mapping[str, Scalar] | None = None
    ) -> Any:
        headers = self._headers()
        if method != "GET":
            # A request whose answer was lost may be repeated without doing it twice.
            headers["Idempotency-Key"] = uuid.uuid4().hex
        content = None
        if body is not None:
            content = msgspec.json.encode(body)
            headers["Content-Type"] = "application/json"
        wanted = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            answer = await self._client.request(
                method, path.lstrip("/"), content=content, headers=headers, params=wanted
            )
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None
        if not answer.is_success:
            raise _problem(answer)
        if not answer.content:
            return None
        try:
            return msgspec.json.decode(answer.content)
        except msgspec.DecodeError:
            raise Unavailable(f"what answers at {self.url} is not the API of Understudy") from None

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def _unreachable(self, error: httpx.HTTPError) -> Unavailable:
        why = str(error) or type(error).__name__
        return Unavailable(
            f"cannot reach the API at {self.url} ({why}): start it with 'understudy up', "
            "or say where it is with --url"
        )


def _problem(answer: httpx.Response) -> UnderstudyError:
    body: Json = {}
    with contextlib.suppress(msgspec.DecodeError):
        decoded = msgspec.json.decode(answer.content)
        body = decoded if isinstance(decoded, dict) else {}
    kind = str(body.pop("type", "internal"))
    message = str(body.pop("detail", "") or f"the API answered with status {answer.status_code}")
    if answer.status_code == _UNAUTHORIZED and kind == "unauthenticated":
        message = f"{message} (log in with 'understudy login')"
    if answer.status_code in _UNAVAILABLE:
        return Unavailable(message)
    return ApiProblem(kind, answer.status_code, message, body)
