"""Ids of new servers: readable, made from the name, never one that something else goes by."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from typing import Final

from understudy_contracts.errors import InvalidInput
from understudy_contracts.ids import id_from_name
from understudy_contracts.model import Role

# Subject of the event of the defaults, word of the pairing, and a path beside /servers/{id}.
RESERVED: Final = frozenset({"defaults", "all", "discovered"})


def checked_name(name: str) -> str:
    """`name` without space around it.

    Raises:
        InvalidInput: nothing is left, or it holds control characters.
    """
    stripped = name.strip()
    if not stripped:
        raise InvalidInput("the name is empty")
    if any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in stripped):
        raise InvalidInput("the name holds control characters or line breaks")
    return stripped


def free_id(name: str, role: Role, taken: Collection[str]) -> str:
    """The id made from `name`, with `-2`, `-3`, … where others have it already."""
    base = id_from_name(name) or f"{role}-server"
    candidate, number = base, 2
    while candidate in taken or candidate in RESERVED:
        candidate, number = f"{base}-{number}", number + 1
    return candidate
