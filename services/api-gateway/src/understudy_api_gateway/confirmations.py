"""What M1 and M16 guard is done only after its caller has seen what it destroys."""

from __future__ import annotations

import hashlib
import hmac

import msgspec
from understudy_contracts.errors import ConfirmationRequired


def confirmation_for(session: str, action: str, subject: str, *facts: str) -> str:
    """The token that proves that this session was told these facts; other facts, another token."""
    said = msgspec.json.encode([action, subject, *facts])
    return hashlib.blake2b(said, key=hashlib.sha256(session.encode()).digest(), digest_size=16).hexdigest()


def require_confirmation(
    given: str | None, *, session: str, action: str, subject: str, destroys: str, facts: tuple[str, ...] = ()
) -> None:
    """Pass if `given` is the token for this action as things stand now.

    Raises:
        ConfirmationRequired: no token, or one that was given when other things stood to be destroyed;
            `details` has `confirmation`, to be sent back, and `destroys`.
    """
    token = confirmation_for(session, action, subject, destroys, *facts)
    if given is None or not hmac.compare_digest(given.encode(), token.encode()):
        raise ConfirmationRequired(
            f"{destroys} Send the confirmation back to go ahead.", confirmation=token, destroys=destroys
        )
