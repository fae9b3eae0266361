"""Who is let in: what a join token, and the machine that brings it, lead to."""

from __future__ import annotations

from understudy_contracts.errors import Refused
from understudy_contracts.joining import JoinRequest

from understudy_api_gateway.resources.joining.tokens import JoinToken


def joins_again(token: JoinToken | None, request: JoinRequest, now_ms: int) -> bool:
    """Whether this is the machine that has already used the token, asking again because its answer got
    lost. False: the token is unused and good.

    Raises:
        Refused: unknown, expired, or used by another machine.
    """
    if token is None:
        raise Refused("this join token is not known: ask for a new one (POST /servers/{id}/join-token)")
    if now_ms >= token.expires_at:
        raise Refused("this join token has expired: ask for a new one (POST /servers/{id}/join-token)")
    if token.machine is None:
        return False
    if token.public_key != request.public_key:
        raise Refused("this join token has been used: ask for a new one (POST /servers/{id}/join-token)")
    return True


def comes_back(known: list[JoinToken], request: JoinRequest) -> bool:
    """Whether the machine may keep the id that it says: `known` are the tokens that this id joined with,
    and one of them was used with the same key, whose seed only that machine has."""
    return request.machine is not None and any(
        token.machine == request.machine and token.public_key == request.public_key for token in known
    )
