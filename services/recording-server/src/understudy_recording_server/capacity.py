"""How many cameras this machine states that it can record.

That is set by hand, else as `understudy doctor --capacity` has measured and left in the data folder, else a
usual number.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import structlog
from msgspec import Meta

FILE = "capacity.json"
USUAL = 100

log = structlog.get_logger()


class Measured(msgspec.Struct, frozen=True):
    """What of the file counts here; the rest is for people."""

    cameras: Annotated[int, Meta(ge=0, le=2000)]


def stated_capacity(by_hand: int | None, data_dir: Path) -> int:
    """The number of cameras; a damaged file is logged and passed by."""
    if by_hand is not None:
        return by_hand
    try:
        return msgspec.json.decode((data_dir / FILE).read_bytes(), type=Measured).cameras
    except FileNotFoundError:
        return USUAL
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        log.warning("the measured capacity cannot be read", file=FILE, error=type(error).__name__)
        return USUAL
