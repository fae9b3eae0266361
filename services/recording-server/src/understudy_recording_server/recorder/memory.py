"""The recorder's memory, so that a year of frames needs no more than a minute of them.

Frames of ten to a hundred kilobytes come and go beside things that stay, in many threads: left alone, malloc
keeps what it once needed.
"""

from __future__ import annotations

import ctypes

GIVE_BACK_EVERY_S = 60.0
_M_ARENA_MAX = -8
_ARENAS = 2
"""Places that malloc takes memory from; by default eight a core. What a camera's frames needed in one thread
is not there for its next ones in another."""
_WORTH_BYTES = 32 << 20
_WORTH_SHARE = 1 / 3
"""The groups of pictures of cameras that were opened together end together: up to 30 % of the memory is free
for a moment then (measured, 90 cameras), and needed again a second later."""


class _Heap(ctypes.Structure):
    """`struct mallinfo2` (mallinfo(3)), in bytes."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )
    arena: int
    """What malloc has, but for large blocks that have their own place."""
    fordblks: int
    """What of it is free."""


def keep_together() -> None:
    """Take memory from few places; before any thread is started. Nothing where the C library cannot."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_ARENA_MAX, _ARENAS)


def give_back() -> bool:
    """Return what is free to the system if it is much, in some milliseconds; whether it was. Other threads
    run meanwhile."""
    libc = ctypes.CDLL(None)
    if not (hasattr(libc, "malloc_trim") and hasattr(libc, "mallinfo2")):
        return False
    libc.mallinfo2.restype = _Heap
    heap: _Heap = libc.mallinfo2()
    is_much = heap.fordblks > max(_WORTH_BYTES, heap.arena * _WORTH_SHARE)
    if is_much:
        libc.malloc_trim(0)
    return is_much
