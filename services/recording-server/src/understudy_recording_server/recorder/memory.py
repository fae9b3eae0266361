"""The recorder's memory, so that a year of frames needs no more than a minute of them.

Frames of ten to a hundred kilobytes come and go beside things that stay, in many threads: left alone, malloc
keeps what it once needed, and needs a little more every minute.
"""

from __future__ import annotations

import ctypes

GIVE_BACK_EVERY_S = 60.0
_M_ARENA_MAX = -8
_ARENAS = 2
"""Places that malloc takes memory from; by default eight a core. What a camera's frames needed in one thread
is not there for its next ones in another."""


def keep_together() -> None:
    """Take memory from few places; before any thread is started. Nothing where the C library cannot."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_ARENA_MAX, _ARENAS)


def give_back() -> None:
    """Return what is free to the system, in some milliseconds. Other threads run meanwhile."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
