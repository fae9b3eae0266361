"""Tickets: what a page puts into the address of a video or a WebSocket, which cannot carry a header.

A ticket opens one camera for the session that asked for it, for a few minutes. It is signed, not kept.
"""

from __future__ import annotations

from understudy_contracts.errors import Refused, Unavailable
from understudy_runtime.grants import Grant, Signer, verify_grant

from understudy_api_gateway.identity import Identity
from understudy_api_gateway.parts import Parts
from understudy_api_gateway.problems import Unauthenticated

TICKET_PURPOSE = "ticket"
MEDIA_PURPOSE = "media"
TICKET_MS = 5 * 60_000
PROXY_MS = 2 * 3_600_000
"""For a request to begin. These grants stay between host and machines, whose clocks may be an hour apart."""
LONGEST_TICKET = 2000
_GATEWAY = "api-gateway"


def signer_of(parts: Parts) -> Signer:
    """Raises:
    Unavailable: this gateway has no key to sign with.
    """
    if parts.signer is None:
        raise Unavailable("this gateway has no signing key: set UNDERSTUDY_SIGNING_KEY")
    return parts.signer


def ticket_for(parts: Parts, identity: Identity, camera: str) -> tuple[str, int]:
    """A ticket, and until when it opens something (UTC ms)."""
    until = parts.clock.wall_ms() + TICKET_MS
    grant = Grant(TICKET_PURPOSE, _GATEWAY, until, serial=identity.session, camera=camera)
    return signer_of(parts).sign(grant), until


def session_of(parts: Parts, ticket: str, camera: str) -> str:
    """The session that a ticket was given to; whether it has ended is for the caller to ask.

    Raises:
        Unauthenticated: no ticket of ours, for another camera, or expired.
    """
    key = signer_of(parts).public_key
    try:
        if len(ticket) > LONGEST_TICKET or not ticket.isascii():
            raise Refused("too long")
        grant = verify_grant(
            ticket, key, purpose=TICKET_PURPOSE, machine=_GATEWAY, now_ms=parts.clock.wall_ms()
        )
    except Refused:
        raise Unauthenticated("the ticket is not good (any more): ask for another") from None
    if grant.camera != camera:
        raise Unauthenticated(f"the ticket is not for camera {camera}")
    return grant.serial


def media_grant(parts: Parts, machine: str, camera: str, for_ms: int = PROXY_MS) -> tuple[str, int]:
    """The host's word that who shows this may see the camera at that machine."""
    until = parts.clock.wall_ms() + for_ms
    return signer_of(parts).sign(Grant(MEDIA_PURPOSE, machine, until, camera=camera)), until
