"""The little that must be read out of H.264 and H.265 themselves: parameter sets, and where pictures begin.

ITU-T H.264 and H.265, annex B (start codes) and clause 7.3 (headers). Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_START = b"\x00\x00\x01"
_BITS = 32


@dataclass(frozen=True)
class Syntax:
    """Where a codec keeps what we read: the type in a unit's first byte, and the bit that says that a slice
    is the first of its picture (`first_mb_in_slice` is 0, or `first_slice_segment_in_pic_flag`)."""

    shift: int
    mask: int
    pictures: range
    numbered: dict[int, int]
    """Types of parameter sets, each with the byte where its number begins; 0 if we cannot tell it: H.265's
    sequence parameter set, of which cameras have one."""
    first_slice_byte: int


SYNTAXES = {
    "h264": Syntax(0, 0x1F, range(1, 6), {7: 4, 8: 1}, 1),
    "hevc": Syntax(1, 0x3F, range(32), {32: 2, 33: 0, 34: 2}, 2),
}
"""By FFmpeg's names of the codecs."""


@dataclass(frozen=True)
class Opening:
    """What comes before a packet's first slice. `slice_at` is where that begins, None without a slice."""

    parameters: tuple[bytes, ...]
    slice_at: int | None
    continues: bool
    """The first slice is not its picture's first: this is the rest of a frame that was split, maybe with its
    parameter sets repeated in between."""


def opening(data: bytes, syntax: Syntax) -> Opening:
    """Read up to the first slice. Of parameter sets with the same number the last one counts."""
    found: dict[tuple[int, int], bytes] = {}
    begun: int | None = None
    for unit, start in _units(data):
        if begun is not None:
            _note(found, data[begun:start], syntax)
            begun = None
        kind = _kind(data[unit], syntax)
        if kind in syntax.pictures:
            continues = not data[unit + syntax.first_slice_byte] & 0x80
            return Opening(tuple(found.values()), start, continues)
        if kind in syntax.numbered:
            begun = unit
    if begun is not None:
        _note(found, data[begun:], syntax)
    return Opening(tuple(found.values()), None, continues=False)


def annex_b(units: tuple[bytes, ...]) -> bytes:
    """Units with start codes before them."""
    return b"".join(b"\x00" + _START + unit for unit in units)


def _units(data: bytes) -> Iterator[tuple[int, int]]:
    """Where each unit begins, and where its start code did."""
    at = data.find(_START)
    while at >= 0 and at + 5 < len(data):
        yield at + 3, at - 1 if at and data[at - 1] == 0 else at
        at = data.find(_START, at + 3)


def _kind(first: int, syntax: Syntax) -> int:
    return (first >> syntax.shift) & syntax.mask


def _note(found: dict[tuple[int, int], bytes], padded: bytes, syntax: Syntax) -> None:
    unit = padded.rstrip(b"\x00")
    if unit:
        kind = _kind(unit[0], syntax)
        at = syntax.numbered[kind]
        # H.265's video parameter set has a number of four bits; we take it as Exp-Golomb like the others,
        # which tells the numbers apart as well.
        found[kind, _exp_golomb(unit[at : at + 4]) if at else 0] = unit


def _exp_golomb(data: bytes) -> int:
    """The number that begins with the first bit (clause 9.1 and 9.2), as far as 32 bits hold it."""
    bits = int.from_bytes(data.ljust(4, b"\x00"), "big")
    zeros = _BITS - bits.bit_length()
    return (bits >> max(0, _BITS - 2 * zeros - 1)) - 1
