"""`/cameras/{id}/...`: live view, timeline, recordings, snapshots. The machine that has them serves them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec
from litestar import Request, Router, WebSocket, get, post, websocket
from litestar.params import FromPath, FromQuery
from litestar.types import ASGIApp
from understudy_contracts.errors import InvalidInput, Unavailable, UnderstudyError
from understudy_contracts.ids import check_id
from understudy_contracts.model import UserRole

from understudy_api_gateway.identity import Identity, bearer_token
from understudy_api_gateway.injection import AccountsOf, IdentityOf, PartsOf
from understudy_api_gateway.parts import Parts
from understudy_api_gateway.problems import Unauthenticated
from understudy_api_gateway.resources.media.gathering import (
    first_answer,
    gather,
    items_of,
    named,
    safe_name,
    tell_serving,
)
from understudy_api_gateway.resources.media.holders import holders_of
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
    await holders_of(parts, camera_id)
    return TicketGiven(*ticket_for(parts, identity, camera_id))


@post("/direct", opt=_VIEWER)
async def give_direct(camera_id: FromPath[str], parts: PartsOf) -> DirectAddress:
    """The address of the server that serves the camera now, with a token that it takes without the host."""
    holders = await holders_of(parts, camera_id)
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
    found, unreachable = await gather(parts, request, camera_id, "timeline")
    spans = [{**span, "server": holder.server} for holder, told in found for span in told["spans"]]
    spans.sort(key=lambda span: (span["start_ms"], span["end_ms"]))
    return {"camera": camera_id, "spans": spans, "unreachable": unreachable}


@get("/recordings", opt=_TICKET)
async def recordings(
    request: Request[Any, Any, Any], camera_id: FromPath[str], parts: PartsOf, accounts: AccountsOf
) -> dict[str, Any]:
    """The files of a period, each with its server."""
    await _who(request, parts, accounts, camera_id)
    return await items_of(parts, request, camera_id, "recordings", "start_ms")


@get("/snapshots", opt=_TICKET)
async def snapshots(
    request: Request[Any, Any, Any], camera_id: FromPath[str], parts: PartsOf, accounts: AccountsOf
) -> dict[str, Any]:
    """The snapshots of a period, each with its server."""
    await _who(request, parts, accounts, camera_id)
    return await items_of(parts, request, camera_id, "snapshots", "time_ms")


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
    holders = await holders_of(parts, camera_id)
    return await first_answer(
        parts, request, camera_id, f"{folder}/{safe_name(name)}", named(holders, server)
    )


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
    holders = named(await holders_of(parts, camera_id), server)
    if len(holders) > 1:
        found, _ = await gather(parts, request, camera_id, "timeline", holders)
        first = {holder: told["spans"][0]["start_ms"] for holder, told in found if told["spans"]}
        holders = sorted(first, key=lambda holder: first[holder]) or holders
    return await first_answer(parts, request, camera_id, "span.mp4", holders)


@get("/snapshot.jpg", opt=_TICKET)
async def snapshot(
    request: Request[Any, Any, Any], camera_id: FromPath[str], parts: PartsOf, accounts: AccountsOf
) -> ASGIApp:
    """The camera's picture now, from its last key frame."""
    await _who(request, parts, accounts, camera_id)
    holders = await holders_of(parts, camera_id)
    return await first_answer(parts, request, camera_id, "snapshot.jpg", holders)


@post("/snapshots", opt={"role": UserRole.OPERATOR})
async def take_snapshot(camera_id: FromPath[str], parts: PartsOf) -> Any:
    """Take a snapshot now, and keep it."""
    return await tell_serving(parts, camera_id, "snapshots")


@post("/events", opt={"role": UserRole.OPERATOR})
async def happened(camera_id: FromPath[str], parts: PartsOf) -> Any:
    """Something happened in front of the camera: where it records by event, it records now."""
    return await tell_serving(parts, camera_id, "events")


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
        await holders_of(parts, camera_id)
        stream = socket.query_params.get("stream", "main")
        if stream not in {"main", "sub"}:
            raise InvalidInput("'stream' is 'main' or 'sub'")
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
            await Watching(parts, socket, camera_id).run(still_logged_in, stream)
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


media_router = Router(
    "/cameras/{camera_id:str}",
    route_handlers=[
        give_ticket, give_direct, timeline, recordings, snapshots, file, span, snapshot, take_snapshot,
        happened, live,
    ],
)  # fmt: skip
