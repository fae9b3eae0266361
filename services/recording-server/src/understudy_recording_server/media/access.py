"""Who may see a camera: whoever shows the host's grant for it. Checked without asking anyone, so that it
also works while the host is gone."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from aiohttp import web
from understudy_contracts.errors import InvalidInput, Refused, UnderstudyError
from understudy_contracts.ids import check_id
from understudy_runtime.clock import Clock
from understudy_runtime.grants import verify_grant

from understudy_recording_server.identity import AgentRecord

MEDIA_PURPOSE = "media"
LONGEST_TOKEN = 2000
_STATUS = {"refused": 403, "not-found": 404, "conflict": 409, "unavailable": 503}


class NoGrant(UnderstudyError):
    """The request shows none."""

    code = "unauthenticated"


def problem(status: int, code: str, detail: str) -> web.Response:
    """The answer for an error, as the host's API gives it (RFC 9457)."""
    body = msgspec.json.encode({"type": code, "status": status, "detail": detail})
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return web.Response(status=status, body=body, content_type="application/problem+json", headers=headers)


def problem_of(error: UnderstudyError) -> web.Response:
    """The answer for an error of ours."""
    status = 401 if isinstance(error, NoGrant) else _STATUS.get(error.code, 400)
    return problem(status, error.code, error.message)


class Access:
    """Judges requests by the grant they carry: `Authorization: Bearer <grant>`, or `?token=<grant>` for
    players that cannot send headers."""

    def __init__(self, record: Callable[[], AgentRecord], clock: Clock) -> None:
        self._record = record
        self._clock = clock

    def camera_of(self, request: web.Request) -> str:
        """The camera that is asked for, once the grant for it has been checked.

        Raises:
            InvalidId: the path names no camera.
            NoGrant: no grant came with the request.
            Refused: it is not the host's, has expired, or is for another machine or camera.
        """
        camera = check_id(request.match_info["camera"], "camera id")
        record = self._record()
        grant = verify_grant(
            _token_of(request),
            record.trust.get(MEDIA_PURPOSE, ""),
            purpose=MEDIA_PURPOSE,
            machine=record.machine,
            now_ms=self._clock.wall_ms(),
        )
        if grant.camera != camera:
            raise Refused(f"the grant is not for camera {camera}")
        return camera


def _token_of(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        token = request.query.get("token", "")
    token = token.strip()
    if not token:
        raise NoGrant("a grant of the host is needed: Authorization: Bearer <grant>")
    if len(token) > LONGEST_TOKEN or not token.isascii():
        raise Refused("the media token is not signed by this host")
    return token


def whole_number(request: web.Request, name: str, default: int | None = None) -> int:
    """A number of the query.

    Raises:
        InvalidInput: it is missing, there twice, or no number of UTC milliseconds.
    """
    given = request.query.getall(name, [])
    if not given and default is not None:
        return default
    if len(given) != 1 or not (given[0].isascii() and given[0].isdigit() and len(given[0]) <= 13):
        raise InvalidInput(f"{name!r} must be given once, as whole UTC milliseconds")
    return int(given[0])


def period_of(request: web.Request, longest_ms: int, *, now_ms: int) -> tuple[int, int]:
    """`from` and `to` of the query; `to` is now when it is left out.

    Raises:
        InvalidInput: not numbers, the wrong way round, or further apart than `longest_ms`.
    """
    begin, end = whole_number(request, "from"), whole_number(request, "to", now_ms)
    if not begin < end:
        raise InvalidInput("'from' must be before 'to'")
    if end - begin > longest_ms:
        raise InvalidInput(
            f"'from' and 'to' are more than {longest_ms // 3_600_000} hours apart: ask in parts"
        )
    return begin, end
