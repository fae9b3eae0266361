"""Asks all that hold a camera's footage, and makes one answer of theirs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any

from litestar import Request
from litestar.types import ASGIApp
from understudy_contracts.errors import NotFound, Unavailable, UnderstudyError

from understudy_api_gateway.parts import Parts
from understudy_api_gateway.resources.media.holders import Holder, holders_of
from understudy_api_gateway.resources.media.relay import Query, Relay, Streamed

_NAME = re.compile(r"[a-z0-9_-]{1,60}\.(mp4|jpg)", re.ASCII)


async def gather(
    parts: Parts,
    request: Request[Any, Any, Any],
    camera: str,
    path: str,
    holders: Sequence[Holder] | None = None,
) -> tuple[list[tuple[Holder, Any]], list[str]]:
    """What all holders say, and those that cannot be reached.

    Raises:
        InvalidInput: what was asked for makes no sense.
        Unavailable: none of them can.
    """
    relay = Relay(parts)
    asked = holders if holders is not None else await holders_of(parts, camera)
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


async def items_of(
    parts: Parts, request: Request[Any, Any, Any], camera: str, path: str, order: str
) -> dict[str, Any]:
    """The items of all holders by their field `order`, each with its server, up to where one of them may have
    more (`next_from`)."""
    found, unreachable = await gather(parts, request, camera, path)
    items = [{**item, "server": holder.server} for holder, told in found for item in told["items"]]
    further = [told["next_from"] for _, told in found if told["next_from"] is not None]
    limit = min(further) if further else None
    if limit is not None:
        # Beyond that one of them may have more: what comes then is asked for again.
        items = [item for item in items if item[order] < limit]
    items.sort(key=lambda item: int(item[order]))
    return {"camera": camera, "items": items, "next_from": limit, "unreachable": unreachable}


async def first_answer(
    parts: Parts, request: Request[Any, Any, Any], camera: str, path: str, holders: Sequence[Holder]
) -> ASGIApp:
    """The answer of the first holder that has it.

    Raises:
        NotFound: all were asked, and none has it.
        Unavailable: none that answered has it, and what the first says that did not, or could not.
    """
    relay = Relay(parts)
    problem: UnderstudyError | None = None
    is_nowhere = False
    for holder in holders:
        try:
            answer = await relay.ask(holder, camera, path, _query(request), given=request.headers)
        except Unavailable as error:
            problem = problem or error
            continue
        if answer.status in {200, 206, 304, 400, 416}:
            return Streamed(answer, holder.server)
        told = await relay.problem(answer, holder)
        if isinstance(told, NotFound):
            is_nowhere = True
        else:
            problem = problem or told
    if problem is None and is_nowhere:
        raise NotFound("no server has it")
    raise problem or Unavailable("no server that holds this camera has been heard of")


def _query(request: Request[Any, Any, Any]) -> Query:
    kept = ("from", "to", "limit")
    return [(name, str(value)) for name in kept for value in request.query_params.getall(name, [])]


def named(holders: Sequence[Holder], server: str | None) -> list[Holder]:
    """Those of the server that is named, or all.

    Raises:
        NotFound: it is none of them.
    """
    if server is None:
        return list(holders)
    chosen = [holder for holder in holders if holder.server == server]
    if not chosen:
        raise NotFound(f"{server[:80]} holds no footage of this camera")
    return chosen


def safe_name(name: str) -> str:
    """A file's name as it may stand in a path.

    Raises:
        NotFound: no file of ours is called like that.
    """
    if _NAME.fullmatch(name) is None:
        raise NotFound("there is no file of that name")
    return name


async def tell_serving(parts: Parts, camera: str, path: str) -> Any:
    """The answer of the machine that serves the camera now to a POST.

    Raises:
        Unavailable: none does, or it cannot be reached.
    """
    relay = Relay(parts)
    await holders_of(parts, camera)
    serving = relay.machines.serving(camera)
    if serving is None:
        raise Unavailable("no server serves this camera now")
    # Not one of the holders: another may have taken over while they were looked up.
    holder = Holder(serving.server or "", serving.machine, serving.address)
    return await relay.json(holder, camera, path, (), method="POST")
