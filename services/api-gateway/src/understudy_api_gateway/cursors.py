"""Cursors of lists: where the next page begins, opaque to clients."""

from __future__ import annotations

import base64
import binascii

from understudy_contracts.errors import InvalidInput

_LONGEST = 200


def cursor_after(key: str | int) -> str:
    """The cursor of the page after the entry with this key."""
    kind, text = ("n", str(key)) if isinstance(key, int) else ("t", key)
    return base64.urlsafe_b64encode(f"{kind}{text}".encode()).rstrip(b"=").decode("ascii")


def text_key(cursor: str | None) -> str | None:
    """The key in a cursor made from a text.

    Raises:
        InvalidInput: the cursor is not one that we gave.
    """
    return None if cursor is None else _parsed(cursor, "t")


def number_key(cursor: str | None) -> int | None:
    """The key in a cursor made from a number.

    Raises:
        InvalidInput: the cursor is not one that we gave.
    """
    if cursor is None:
        return None
    text = _parsed(cursor, "n")
    # isdecimal alone would let digits of other scripts through.
    if not (text.isascii() and text.isdecimal()) or int(text) > 2**63 - 1:
        raise _foreign()
    return int(text)


def _parsed(cursor: str, kind: str) -> str:
    try:
        if len(cursor) > _LONGEST:
            raise _foreign()
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode("utf-8")
    except (ValueError, binascii.Error):
        raise _foreign() from None
    if not text.startswith(kind) or "\x00" in text:
        raise _foreign()
    return text[1:]


def _foreign() -> InvalidInput:
    return InvalidInput("this cursor is not one that this list gave: begin without a cursor")
