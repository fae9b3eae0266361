"""`/cameras/{id}/...`: live view, timeline, recordings, snapshots. The machine that has them serves them."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Request, Router, WebSocket, get, post, websocket
from litestar.params import FromPath, FromQuery
from litestar.types import ASGIApp
from understudy_contracts.errors import NotFound, Unavailable, UnderstudyError
from understudy_contracts.ids import check_id
from understudy_contracts.model import UserRole

from understudy_api_gateway.identity import Identity, bearer_token
from understudy_api_gateway.injection import AccountsOf, IdentityOf, PartsOf
from understudy_api_gateway.parts import Parts
from understudy_api_gateway.problems import Unauthenticated
from understudy_api_gateway.resources.media.holders import Holder, holders_of
from understudy_api_gateway.resources.media.relay import Relay, Streamed
from understudy_api_gateway.resources.media.tickets import media_grant, session_of, ticket_for
from understudy_api_gateway.resources.media.watching import (
    CLOSE_REFUSED,
    MOST_WATCHERS,
    Ended,
    Watching,
    ended_by,
    is_foreign,
)
from understudy_api_gateway.resources.sessions.accounts import Accounts

DIRECT_MS = 12 * 3_600_000
_NAME = re.compile(r"[a-z0-9_-]{1,60}\.(mp4|jpg)", re.ASCII)
_VIEWER = {"role": UserRole.VIEWER}
_TICKET = {"public": True}  # These judge themselves: a bearer token or a ticket.


class TicketGiven(msgspec.Struct, frozen=True):
    """Good for `?ticket=` at this camera's media until `expires_at` (UTC ms)."""

    ticket: str
    expires_at: int


class DirectAddress(msgspec.Struct, frozen=True):
    """Where a program gets the camera's media without the host: `<address>/live`, `/timeline`, and so on,
    with `Authorization: Bearer <token>`. Good until `expires_at` (UTC ms), also while the host is gone."""

    server: str
    address: str
    token: str
    expires_at: int


def _relay(parts: Parts) -> Relay:
    if parts.relay is None:
        raise Unavailable("this gateway serves no media")
    return parts.relay


async def _who(
    connection: Request[Any, Any, Any] | WebSocket[Any, Any, Any],
    parts: Parts,
    accounts: Accounts,
    camera: str,
) -> Identity:
    """Who asks, by ticket or bearer token.

    Raises:
        InvalidId: `camera` is no id.
        Unauthenticated: neither is good.
    """
    check_id(camera, "camera id")
    ticket = connection.query_params.get("ticket")
    if ticket is not None:
        return await accounts.identity_of(session_of(parts, str(ticket), camera))
    return await accounts.identify(bearer_token(connection.headers.get("authorization")))


@post("/ticket", opt=_VIEWER)
async def give_ticket(camera_id: FromPath[str], parts: PartsOf, identity: IdentityOf) -> TicketGiven:
    """A ticket for addresses in a page."""
    await holders_of(parts, _relay(parts).machines, camera_id)
    return TicketGiven(*ticket_for(parts, identity, camera_id))


@post("/direct", opt=_VIEWER)
async def give_direct(camera_id: FromPath[str], parts: PartsOf) -> DirectAddress:
    """The address of the server that serves the camera now, with a token that it takes without the host."""
    holders = await holders_of(parts, _relay(parts).machines, camera_id)
    holder = next((one for one in holders if one.address is not None), None)
    if holder is None:
        raise Unavailable("no server that holds this camera has been heard of")
    token, until = media_grant(parts, holder.machine, camera_id, DIRECT_MS)
    return DirectAddress(holder.server, f"{holder.address}/media/cameras/{camera_id}", token, until)


@get("/timeline", opt=_TICKET)
async def timeline(
    request: Request[Any, Any, Any], camera_id: FromPath[str], parts: PartsOf, accounts: AccountsOf
) -> dict[str, Any]:
    """Spans of footage of all servers that hold some, each with its server."""
    await _who(request, parts, accounts, camera_id)
    found, unreachable = await _gather(parts, request, camera_id, "timeline")
    spans = [{**span, "server": holder.server} for holder, told in found for span in told["spans"]]
    spans.sort(key=lambda span: (span["start_ms"], span["end_ms"]))
    return {"camera": camera_id, "spans": spans, "unreachable": unreachable}


@get("/recordings", opt=_TICKET)
async def recordings(
    request: Request[Any, Any, Any], camera_id: FromPath[str], parts: PartsOf, accounts: AccountsOf
) -> dict[str, Any]:
    """The files of a period, each with its server."""
    await _who(request, parts, accounts, camera_id)
    return await _items(parts, request, camera_id, "recordings", "start_ms")


@get("/snapshots", opt=_TICKET)
async def snapshots(
    request: Request[Any, Any, Any], camera_id: FromPath[str], parts: PartsOf, accounts: AccountsOf
) -> dict[str, Any]:
    """The snapshots of a period, each with its server."""
    await _who(request, parts, accounts, camera_id)
    return await _items(parts, request, camera_id, "snapshots", "time_ms")


@get(["/recordings/{name:str}", "/snapshots/{name:str}"], opt=_TICKET)
async def file(
    request: Request[Any, Any, Any],
    camera_id: FromPath[str],
    name: FromPath[str],
    parts: PartsOf,
    accounts: AccountsOf,
    server: FromQuery[str | None] = None,
) -> ASGIApp:
    """One file, with Range; of the server that is named, or of the first that has it."""
    await _who(request, parts, accounts, camera_id)
    folder = "snapshots" if request.url.path.rsplit("/", 2)[-2] == "snapshots" else "recordings"
    holders = await holders_of(parts, _relay(parts).machines, camera_id)
    return await _first(parts, request, camera_id, f"{folder}/{_safe(name)}", _named(holders, server))


@get("/span.mp4", opt=_TICKET)
async def span(
    request: Request[Any, Any, Any],
    camera_id: FromPath[str],
    parts: PartsOf,
    accounts: AccountsOf,
    server: FromQuery[str | None] = None,
) -> ASGIApp:
    """A period as one file, of the server that is named, or of the one that has its beginning. It ends at
    `Understudy-End`, which may be before `to`: who holds what comes then, the timeline tells."""
    await _who(request, parts, accounts, camera_id)
    relay = _relay(parts)
    holders = _named(await holders_of(parts, relay.machines, camera_id), server)
    if len(holders) > 1:
        found, _ = await _gather(parts, request, camera_id, "timeline", holders)
        first = {holder: told["spans"][0]["start_ms"] for holder, told in found if told["spans"]}
        holders = sorted(first, key=lambda holder: first[holder]) or holders
    return await _first(parts, request, camera_id, "span.mp4", holders)


@get("/snapshot.jpg", opt=_TICKET)
async def snapshot(
    request: Request[Any, Any, Any], camera_id: FromPath[str], parts: PartsOf, accounts: AccountsOf
) -> ASGIApp:
    """The camera's picture now, from its last key frame."""
    await _who(request, parts, accounts, camera_id)
    holders = await holders_of(parts, _relay(parts).machines, camera_id)
    return await _first(parts, request, camera_id, "snapshot.jpg", holders)


@post("/snapshots", opt={"role": UserRole.OPERATOR})
async def take_snapshot(camera_id: FromPath[str], parts: PartsOf) -> Any:
    """Take a snapshot now, and keep it."""
    return await _tell(parts, camera_id, "snapshots")


@post("/events", opt={"role": UserRole.OPERATOR})
async def happened(camera_id: FromPath[str], parts: PartsOf) -> Any:
    """Something happened in front of the camera: where it records by event, it records now."""
    return await _tell(parts, camera_id, "events")


async def _tell(parts: Parts, camera: str, path: str) -> Any:
    relay = _relay(parts)
    holders = await holders_of(parts, relay.machines, camera)
    serving = relay.machines.serving(camera)
    if serving is None:
        raise Unavailable("no server serves this camera now")
    holder = next(one for one in holders if one.machine == serving.machine)
    return await relay.json(holder, camera, path, {}, method="POST")


@websocket("/live", opt=_TICKET)
async def live(
    socket: WebSocket[Any, Any, Any], camera_id: FromPath[str], parts: PartsOf, accounts: AccountsOf
) -> None:
    """Fragmented MP4 over a WebSocket, from the last key frame on; see the machines' own `/live`."""
    if is_foreign(socket.headers.get("origin"), socket.headers.get("host")):
        await socket.close(code=CLOSE_REFUSED, reason="pages of another origin may not watch")
        return
    await socket.accept()
    try:
        identity = await _who(socket, parts, accounts, camera_id)
        relay = _relay(parts)
        await holders_of(parts, relay.machines, camera_id)
        if parts.watchers >= MOST_WATCHERS:
            raise Unavailable(f"{MOST_WATCHERS} watch through this host already")

        async def still_logged_in() -> bool:
            try:
                return (await accounts.identity_of(identity.session)).role is identity.role
            except Unauthenticated:
                return False
            except Unavailable:
                return True  # not known; asked again soon

        parts.watchers += 1
        try:
            stream = "sub" if socket.query_params.get("stream") == "sub" else "main"
            await Watching(parts, relay, socket, camera_id).run(still_logged_in, stream)
        finally:
            parts.watchers -= 1
        return
    except UnderstudyError as error:
        end = ended_by(error)
    except Ended as ended:
        end = ended
    with contextlib.suppress(TimeoutError, RuntimeError):  # Who watched may be gone.
        async with asyncio.timeout(2.0):
            await socket.close(code=end.code, reason=end.reason[:100])


async def _gather(
    parts: Parts,
    request: Request[Any, Any, Any],
    camera: str,
    path: str,
    holders: Sequence[Holder] | None = None,
) -> tuple[list[tuple[Holder, Any]], list[str]]:
    """What all holders say, and those that cannot be reached.

    Raises:
        Unavailable: none of them can.
    """
    relay = _relay(parts)
    asked = holders if holders is not None else await holders_of(parts, relay.machines, camera)
    query = _query(request)
    told = await asyncio.gather(
        *(relay.json(one, camera, path, query) for one in asked), return_exceptions=True
    )
    found: list[tuple[Holder, Any]] = []
    unreachable: list[str] = []
    problems: list[BaseException] = []
    for holder, answer in zip(asked, told, strict=True):
        if isinstance(answer, BaseException):
            if not isinstance(answer, Unavailable | NotFound):
                raise answer
            unreachable.append(holder.server)
            problems.append(answer)
        else:
            found.append((holder, answer))
    if not found:
        raise problems[0] if problems else Unavailable("no server that holds this camera has been heard of")
    return found, unreachable


async def _items(
    parts: Parts, request: Request[Any, Any, Any], camera: str, path: str, order: str
) -> dict[str, Any]:
    found, unreachable = await _gather(parts, request, camera, path)
    items = [{**item, "server": holder.server} for holder, told in found for item in told["items"]]
    further = [told["next_from"] for _, told in found if told["next_from"] is not None]
    limit = min(further) if further else None
    if limit is not None:
        # Beyond that one of them may have more: what comes then is asked for again.
        items = [item for item in items if item[order] < limit]
    items.sort(key=lambda item: int(item[order]))
    return {"camera": camera, "items": items, "next_from": limit, "unreachable": unreachable}


async def _first(
    parts: Parts, request: Request[Any, Any, Any], camera: str, path: str, holders: Sequence[Holder]
) -> ASGIApp:
    """The answer of the first holder that has it.

    Raises:
        NotFound: none of those that can be reached has it.
        Unavailable: none can be reached.
    """
    relay = _relay(parts)
    problem: UnderstudyError | None = None
    for holder in holders:
        try:
            answer = await relay.ask(holder, camera, path, _query(request), given=request.headers)
        except Unavailable as error:
            problem = problem or error
            continue
        if answer.status in {200, 206, 304, 400, 416}:
            return Streamed(answer, holder.server)
        answer.close()
        if answer.status == 404:
            problem = NotFound("no server has it")
        else:
            problem = problem or Unavailable(f"{holder.server} refuses it")
    raise problem or Unavailable("no server that holds this camera has been heard of")


def _query(request: Request[Any, Any, Any]) -> dict[str, str]:
    kept = ("from", "to", "limit")
    return {name: str(request.query_params[name]) for name in kept if name in request.query_params}


def _named(holders: Sequence[Holder], server: str | None) -> list[Holder]:
    if server is None:
        return list(holders)
    chosen = [holder for holder in holders if holder.server == server]
    if not chosen:
        raise NotFound(f"{server[:80]} holds no footage of this camera")
    return chosen


def _safe(name: str) -> str:
    """A file's name as it may stand in a path.

    Raises:
        NotFound: no file of ours is called like that.
    """
    if _NAME.fullmatch(name) is None:
        raise NotFound("there is no file of that name")
    return name


media_router = Router(
    "/cameras/{camera_id:str}",
    route_handlers=[
        give_ticket, give_direct, timeline, recordings, snapshots, file, span, snapshot, take_snapshot,
        happened, live,
    ],
)  # fmt: skip
