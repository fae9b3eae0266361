"""Frames that come as several packets become one again.

FFmpeg's parser joins the slices of a frame, but begins another packet where a camera repeats its parameter
sets between them, as many do at key frames.
"""

from __future__ import annotations

from av.packet import Packet
from av.stream import Stream

from understudy_recording_server.recorder.codecs.bitstream import Syntax, opening
from understudy_recording_server.recorder.frames import Arrived

WATCHED = 50
"""So many frames of a connection are held back until the next packet shows that they are whole; later only
key frames are, for which the muxer waits anyway, and all of a camera that has split another frame."""


class Joiner:
    """Takes a connection's video packets in the order of arrival, gives whole frames in the same order."""

    def __init__(self, syntax: Syntax | None) -> None:
        """Without a `syntax` nothing is held back or joined."""
        self._syntax = syntax
        self._watched = WATCHED
        self._held: Arrived | None = None

    @property
    def is_idle(self) -> bool:
        """Whether a frame that is no key frame would pass at once."""
        return self._held is None and (self._watched == 0 or self._syntax is None)

    def take(self, arrived: Arrived) -> list[Arrived]:
        """The frames that are whole now."""
        if self._syntax is None:
            return [arrived]
        held = self._held
        if held is None:
            if not arrived.is_key and self._watched == 0:
                return [arrived]
            self._held = arrived
            return []
        begins_at = self._begins_at(held, arrived, self._syntax)
        if begins_at is not None:
            if not held.is_key:
                self._watched = -1  # For good.
            held.packet = _joined(held.packet, bytes(arrived.packet)[begins_at:])
            # The first part may have come without times.
            held.dts = arrived.dts if held.dts is None else held.dts
            held.pts = arrived.pts if held.pts is None else held.pts
            return []
        if self._watched > 0:
            self._watched -= 1
        if arrived.is_key or self._watched != 0:
            self._held = arrived
            return [held]
        self._held = None
        return [held, arrived]

    def rest(self) -> list[Arrived]:
        """The frame held back, at the end of the connection."""
        held, self._held = self._held, None
        return [] if held is None else [held]

    @staticmethod
    def _begins_at(held: Arrived, arrived: Arrived, syntax: Syntax) -> int | None:
        if held.dts is not None and arrived.dts is not None and held.dts != arrived.dts:
            return None
        found = opening(bytes(arrived.packet), syntax)
        return found.slice_at if found.continues else None


def _joined(first: Packet[Stream], more: bytes) -> Packet[Stream]:
    whole: Packet[Stream] = Packet(bytes(first) + more)
    if first.time_base is not None:
        whole.time_base = first.time_base
    whole.duration = first.duration
    whole.is_keyframe = first.is_keyframe
    return whole
