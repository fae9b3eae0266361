"""Where a reader of the events begins, and which it wants."""

from __future__ import annotations

from typing import Final, get_args

import msgspec
from understudy_contracts.errors import InvalidInput
from understudy_contracts.events import EventKind
from understudy_contracts.model import UserRole

from understudy_api_gateway.identity import Identity

KINDS: Final = frozenset(get_args(EventKind))


class Begin(msgspec.Struct, frozen=True):
    """The position of the first event to send; `missed` when some before it are no longer kept."""

    position: int
    missed: bool = False


def begin_at(last_event_id: str | None, first: int, last: int) -> Begin:
    """Where to begin in a stream that holds `first` to `last` (first > last: it holds none).

    Without a last id only what is new; an id beyond the stream's end is of another stream's life.

    Raises:
        InvalidInput: the id is no number.
    """
    if not last_event_id:
        return Begin(last + 1)
    if not (last_event_id.isascii() and last_event_id.isdecimal()) or len(last_event_id) > 18:
        raise InvalidInput("Last-Event-ID is the id of an event: a number")
    seen = int(last_event_id)
    if seen > last:
        return Begin(last + 1, missed=True)
    return Begin(max(seen + 1, first), missed=seen + 1 < first)


def wanted_kinds(text: str | None, identity: Identity) -> frozenset[str]:
    """The kinds in a comma-separated list, all without one; `user` events are for administrators.

    Raises:
        InvalidInput: there is no such kind.
    """
    kinds = KINDS
    if text:
        kinds = frozenset(text.split(","))
        unknown = sorted(kinds - KINDS)
        if unknown:
            raise InvalidInput(
                f"there are no {unknown[0][:40]!r} events; kinds are {', '.join(sorted(KINDS))}"
            )
    return kinds if identity.may(UserRole.ADMINISTRATOR) else kinds - {"user"}
