"""Identifiers: lower-case letters, digits and hyphens, so that they are safe in subjects, paths and URLs."""

import re
from typing import Annotated

from msgspec import Meta

from understudy_contracts.errors import InvalidId

# (?![\s\S]) is "end of text" to both Python and ECMAScript; Python's `$` would let a final newline through.
ID_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}(?![\s\S])"
FAILOVER_ID_PATTERN = r"^f-[1-9][0-9]{0,14}(?![\s\S])"

Id = Annotated[str, Meta(pattern=ID_PATTERN, description="Lower-case letters, digits, hyphens; at most 63")]
FailoverId = Annotated[str, Meta(pattern=FAILOVER_ID_PATTERN, description="`f-` and the failover's epoch.")]

_ID = re.compile(ID_PATTERN)
_FAILOVER_ID = re.compile(FAILOVER_ID_PATTERN)


def is_id(text: str) -> bool:
    """Whether `text` can stand as an id."""
    return _ID.match(text) is not None


def check_id(text: str, what: str = "id") -> str:
    """Return `text` if it is an id.

    Raises:
        InvalidId: it holds anything but lower-case letters, digits and hyphens, or is empty or too long.
    """
    if not is_id(text):
        raise InvalidId(
            f"{text[:80]!r} is not a valid {what}: use lower-case letters, digits and hyphens, at most 63"
        )
    return text


def failover_id(epoch: int) -> str:
    """The id of the failover with this epoch (house.md, Epochs)."""
    return f"f-{epoch}"


def epoch_of(failover: str) -> int:
    """The epoch of a failover id.

    Raises:
        InvalidId: not a failover id.
    """
    if _FAILOVER_ID.match(failover) is None:
        raise InvalidId(f"{failover[:80]!r} is not a failover id: expected f-<number>")
    return int(failover[2:])


def id_from_name(name: str) -> str:
    """A readable id made of a name people chose: `North gate 1` becomes `north-gate-1`; may be empty."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-")
