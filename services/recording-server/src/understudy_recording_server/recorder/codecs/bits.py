"""Bits and numbers as the syntax tables of H.264 and H.265 name them. Pure."""

from __future__ import annotations

_MOST = 2**32 - 2
_LONGEST_PREFIX = 31
"""An Exp-Golomb code that begins with more zeros is for a number greater than `_MOST`."""


class Malformed(Exception):
    """The bits end too early, or a number is greater than the standard allows."""


class Bits:
    """Reads what follows a unit's header, in order. Each step raises `Malformed` rather than make up bits, so
    that whoever has read something out of a part of a unit has read the same as out of all of it."""

    def __init__(self, payload: bytes) -> None:
        # emulation_prevention_three_byte: clause 7.3.1 (H.264), 7.3.1.1 (H.265).
        self._data = payload.replace(b"\x00\x00\x03", b"\x00\x00")
        self._at = 0
        self._end = 8 * len(self._data)

    def u(self, count: int) -> int:
        """u(n): so many bits, the most significant first."""
        end = self._at + count
        if end > self._end:
            raise Malformed
        last = (end + 7) >> 3
        window = int.from_bytes(self._data[self._at >> 3 : last], "big")
        self._at = end
        return (window >> (8 * last - end)) & ((1 << count) - 1)

    def flag(self) -> bool:
        """u(1)"""
        return self.u(1) == 1

    def ue(self, most: int = _MOST) -> int:
        """ue(v): clause 9.1 (H.264), 9.2 (H.265)."""
        zeros = 0
        while not self.u(1):
            zeros += 1
            if zeros > _LONGEST_PREFIX:
                raise Malformed
        number = (1 << zeros) - 1 + self.u(zeros)
        if number > most:
            raise Malformed
        return number

    def se(self) -> int:
        """se(v): clause 9.1.1 (H.264), 9.2.2 (H.265)."""
        code = self.ue()
        return (code + 1) // 2 if code % 2 else -(code // 2)
