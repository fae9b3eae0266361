"""What is common to all kinds of sound. No I/O."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Sound(msgspec.Struct, gc=False):
    """A frame of sound."""

    data: bytes
    timestamp: int
    """In ticks of the stream's clock; does not wrap."""
    samples: int
    """How long it is, in the same ticks."""


class SoundFrames(Protocol):
    """Takes a stream's RTP packets in the order of arrival."""

    def take(self, packet: bytes) -> list[Sound]:
        """The frames that are whole with this packet. Broken ones are left out."""
