"""The last groups of pictures of a camera in memory: where a viewer begins, and what came before an event."""

from __future__ import annotations

from collections import deque

from understudy_recording_server.recorder.frames import Frame, Streams

LARGEST_BYTES = 24 << 20
"""A camera may take this much: 10 s at 16 Mbit/s, and the group of pictures before. Then the oldest go."""
_FRAME_OVERHEAD = 700
"""About what a frame takes beside its bytes."""


class Recent:
    """A sink that is always there, so it does next to nothing: it keeps what is in memory anyway.

    Belongs to whoever holds the camera's lock; `keep_s` may be set from any.
    """

    def __init__(self, keep_s: float = 0.0) -> None:
        """`keep_s`: how far back it must reach; with 0 it holds the present group of pictures."""
        self.keep_s = keep_s
        self._groups: deque[list[Frame]] = deque()
        self._sizes: deque[int] = deque()
        self._total = 0

    def began(self, streams: Streams) -> None:
        self._clear()

    def take(self, frame: Frame) -> None:
        if frame.is_key:
            # The oldest goes when the one after it, perhaps the one that begins now, reaches back far enough.
            oldest_needed_s = frame.arrival_s - self.keep_s
            while len(self._groups) > 1 and self._groups[1][0].arrival_s <= oldest_needed_s:
                self._drop_oldest()
            if self._groups and self.keep_s <= 0:
                self._drop_oldest()
            self._groups.append([])
            self._sizes.append(0)
        if not self._groups:
            return
        self._groups[-1].append(frame)
        size = frame.packet.size + _FRAME_OVERHEAD
        self._sizes[-1] += size
        self._total += size
        while self._total > LARGEST_BYTES:
            self._drop_oldest()

    def ended(self) -> None:
        self._clear()

    def groups(self, now_s: float) -> list[list[Frame]]:
        """The last `keep_s` before `now_s` (monotonic), by groups of pictures, oldest first. Each begins with
        a key frame."""
        needed_s = now_s - self.keep_s
        groups = [list(group) for group in self._groups]
        return [
            group
            for number, group in enumerate(groups, 1)
            if number == len(groups) or groups[number][0].arrival_s > needed_s
        ]

    def last_group(self) -> list[Frame]:
        """From the last key frame on."""
        return list(self._groups[-1]) if self._groups else []

    def _drop_oldest(self) -> None:
        self._groups.popleft()
        self._total -= self._sizes.popleft()

    def _clear(self) -> None:
        self._groups.clear()
        self._sizes.clear()
        self._total = 0
