"""Durations as people write them."""

from __future__ import annotations

import re
from typing import Final

from understudy_contracts.errors import InvalidInput

_SECONDS: Final = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
_PART = re.compile(r"(\d{1,9})([dhms])", re.ASCII)


def seconds_of(text: str) -> int:
    """`1h30m` as 5400.

    Raises:
        InvalidInput: not of that form, or no time at all.
    """
    bare = "".join(text.split())
    parts = _PART.findall(bare)
    seconds = sum(int(number) * _SECONDS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != bare or seconds == 0:
        raise InvalidInput(f"{text[:40]!r} is no duration: write it like 90m, 2h or 1h30m")
    return seconds
