"""Errors as people's programs get them: RFC 9457 problem details."""

from __future__ import annotations

from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException
from understudy_contracts.errors import UnderstudyError

from understudy_api_gateway.wording import explained

log = structlog.get_logger()

PROBLEM_MEDIA_TYPE = "application/problem+json"


class Unauthenticated(UnderstudyError):
    """No login, or one that has ended."""

    code = "unauthenticated"


class LicenseMissing(UnderstudyError):
    """More cameras than license keys."""

    code = "license-missing"


class TooLarge(UnderstudyError):
    code = "too-large"


class TooManyAttempts(UnderstudyError):
    """`details` has `retry_after_s`."""

    code = "too-many-attempts"


STATUS_OF = {
    "invalid-id": 400,
    "invalid-message": 400,
    "invalid-input": 400,
    "unauthenticated": 401,
    "refused": 403,
    "not-found": 404,
    "conflict": 409,
    "stale-epoch": 409,
    "settings-missing": 409,
    "confirmation-required": 409,
    "license-missing": 409,
    "too-large": 413,
    "too-many-attempts": 429,
    "unavailable": 503,
}
_TITLES = {
    "invalid-id": "Not a valid id",
    "invalid-message": "Not understood",
    "invalid-input": "Invalid input",
    "unauthenticated": "Login required",
    "refused": "Refused",
    "not-found": "Not found",
    "conflict": "Conflict",
    "stale-epoch": "Conflict",
    "settings-missing": "Settings missing",
    "confirmation-required": "Confirmation required",
    "license-missing": "License keys missing",
    "too-large": "Too large",
    "too-many-attempts": "Too many attempts",
    "unavailable": "Unavailable",
    "internal": "Internal error",
}
_CODE_OF_HTTP_STATUS = {401: "unauthenticated", 403: "refused", 404: "not-found", 413: "too-large"}


def problem(code: str, detail: str, status: int | None = None, **extensions: Any) -> Response[bytes]:
    """The answer for an error."""
    status = status or STATUS_OF.get(code, 500)
    body = {
        **extensions,
        "type": code,
        "title": _TITLES.get(code, code.replace("-", " ").capitalize()),
        "status": status,
        "detail": detail,
    }
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if "retry_after_s" in extensions:
        headers["Retry-After"] = str(extensions["retry_after_s"])
    return Response(
        msgspec.json.encode(body), status_code=status, media_type=PROBLEM_MEDIA_TYPE, headers=headers
    )


def from_understudy_error(_: Request[Any, Any, Any], error: UnderstudyError) -> Response[bytes]:
    return problem(error.code, error.message, **error.details)


def from_http_exception(_: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """What the framework itself refuses: unknown paths and methods, bodies of another form."""
    status = error.status_code
    if status == 405:
        return problem("method-not-allowed", "this path does not take that method", status)
    if status >= 500:
        return problem("internal", "the request failed; the gateway's log says why", status)
    code = _CODE_OF_HTTP_STATUS.get(status, "invalid-input")
    extra = error.extra if isinstance(error.extra, list) else []
    details = [
        explained(str(entry.get("key", "")), str(entry.get("message", "")))
        for entry in extra
        if isinstance(entry, dict)
    ]
    if status == 404:
        return problem(code, "there is nothing at this path", status)
    return problem(code, "; ".join(details) or explained("", error.detail), status)


def from_surprise(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Foreign exceptions may carry secrets or paths in their text: the log gets it, the caller does not."""
    log.error("request failed", method=request.method, path=request.url.path, exc_info=error)
    return problem("internal", "the request failed; the gateway's log says why")
