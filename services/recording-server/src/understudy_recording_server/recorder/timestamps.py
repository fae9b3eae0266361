"""Timestamps that a muxer accepts, and wall-clock times for names of files, out of what cameras send.

Cameras send the first frame without a timestamp, the same one twice, clocks that jump, wrap, or stand still
(facts.md, Video). Pure: time comes in as arguments.
"""

from __future__ import annotations

import msgspec

JUMP_FORWARD_S = 10.0
"""A step this much larger than the time that has really passed is a jump."""
JUMP_BACK_S = 1.0
"""Steps back up to this are disorder within a stream; larger ones are a jump."""
STANDSTILL_S = 2.0
"""After this long without growth the camera's clock stands still, and arrival takes its place."""
LONGEST_REORDER_S = 10.0
"""A presentation time further than this from its decoding time is nonsense."""

LARGEST_DELAY_S = 2.0
"""Audio and video of one camera further apart than this have nothing to do with each other's clocks."""
LONGEST_WAY_MS = 500
"""A frame that was taken longer ago than this, by the camera's clock, shows that its clock is wrong."""

SLEW = 8
"""At each cut an eighth of the difference between media time and arrival is taken over."""
REANCHOR_MS = 2000
"""From this difference on it is no drift but a jump of one of the clocks."""


class Placed(msgspec.Struct, frozen=True, gc=False):
    """Times of a frame in ticks of its stream; `jumped` says that a new file should begin at a key frame."""

    dts: int
    pts: int
    jumped: bool


class Timeline:
    """Places the frames of one connection on a time that strictly grows.

    `tick_s` is the length of a tick in seconds (1/90000 for most video).
    """

    def __init__(self, tick_s: float, start: int = 0) -> None:
        """`start`: where the first frame is to be placed."""
        self._per_second = 1.0 / tick_s
        self._furthest_back = -JUMP_BACK_S * self._per_second
        self._last_in: int | None = None
        self._last_out = start - 1
        self._offset = 0
        self._arrival = 0.0
        self._grew_at = 0.0
        self._begun = False
        self._began_s = 0.0
        self._start = start

    @property
    def began_s(self) -> float:
        """The arrival of the first frame."""
        return self._began_s

    @property
    def zero_s(self) -> float | None:
        """What the camera's clock shows at our 0, in seconds; None as long as it has shown nothing."""
        return None if self._last_in is None else -self._offset / self._per_second

    def place(self, dts: int | None, pts: int | None, arrival_s: float) -> Placed:
        """Place the next frame, in the order of arrival. `arrival_s` is monotonic."""
        source = dts if dts is not None else pts
        if not self._begun:
            return self._first(source, pts, arrival_s)
        passed = arrival_s - self._arrival
        self._arrival = arrival_s
        if source is None:
            return self._after(passed, None, pts, arrival_s)
        if self._last_in is None:
            # The first frame came without a timestamp: this one fixes where it was.
            self._offset = self._last_out + self._ticks(passed) - source
        else:
            step = source - self._last_in
            if step > (passed + JUMP_FORWARD_S) * self._per_second or step < self._furthest_back:
                self._last_in = source
                return self._jump(source, pts, passed, arrival_s)
        self._last_in = source
        out = source + self._offset
        if out <= self._last_out:
            standing_s = arrival_s - self._grew_at
            if standing_s > STANDSTILL_S:
                return self._jump(source, pts, standing_s, arrival_s)
            out = self._last_out + 1
        else:
            self._grew_at = arrival_s
        self._last_out = out
        return Placed(out, out if pts == source else self._presented(out, source, pts), False)

    def _first(self, source: int | None, pts: int | None, arrival_s: float) -> Placed:
        self._begun = True
        self._last_in = source
        self._offset = self._start - source if source is not None else 0
        self._last_out = self._start
        self._arrival = self._grew_at = self._began_s = arrival_s
        return Placed(self._start, self._presented(self._start, source, pts), jumped=False)

    def _after(self, passed: float, source: int | None, pts: int | None, arrival_s: float) -> Placed:
        self._last_out += max(1, self._ticks(passed))
        self._grew_at = arrival_s
        return Placed(self._last_out, self._presented(self._last_out, source, pts), jumped=False)

    def _jump(self, source: int, pts: int | None, passed: float, arrival_s: float) -> Placed:
        placed = self._after(passed, source, pts, arrival_s)
        self._offset = placed.dts - source
        return Placed(placed.dts, placed.pts, jumped=True)

    def _presented(self, out: int, source: int | None, pts: int | None) -> int:
        if source is None or pts is None or not 0 <= pts - source <= LONGEST_REORDER_S * self._per_second:
            return out
        return out + (pts - source)

    def _ticks(self, seconds: float) -> int:
        return round(seconds * self._per_second)


class AudioTimeline:
    """Places audio on the time of its connection's video: 0 is the first video frame.

    Both clocks are the same as far as the camera tells (FFmpeg aligns them by RTCP, our own reader by
    RTP-Info, else by arrival); where they are further apart than any camera's delay, arrival decides.
    """

    def __init__(self, tick_s: float, video: Timeline) -> None:
        self._tick_s = tick_s
        self._video = video
        self._own: Timeline | None = None

    def place(self, dts: int | None, arrival_s: float) -> int | None:
        """The time of the next audio frame in its own ticks; None for one from before the first video."""
        if self._own is None:
            zero_s, arrived_s = self._video.zero_s, arrival_s - self._video.began_s
            if zero_s is None:
                return None
            start_s = arrived_s if dts is None else dts * self._tick_s - zero_s
            if abs(start_s - arrived_s) > LARGEST_DELAY_S:
                start_s = arrived_s
            if start_s < 0:
                return None
            self._own = Timeline(self._tick_s, round(start_s / self._tick_s))
        return self._own.place(dts, dts, arrival_s).dts


def taken_ms(arrival_ms: int, captured_ms: int | None) -> int:
    """The best guess of when a frame was taken, in UTC milliseconds: the camera's word where its clock agrees
    with ours but for what the way here takes, else the arrival."""
    if captured_ms is not None and 0 <= arrival_ms - captured_ms <= LONGEST_WAY_MS:
        return captured_ms
    return arrival_ms


class FileClock:
    """Wall-clock starts of successive files: contiguous as long as the frames are, and drifting with neither
    the camera's clock nor the jitter of arrival."""

    def __init__(self) -> None:
        self._anchor: tuple[float, int] | None = None

    def start_ms(self, media_s: float, arrival_ms: int) -> tuple[int, bool]:
        """When a file starts whose first frame has this media time and arrived then, in UTC milliseconds, and
        whether it follows the previous file without a break of the clock."""
        if self._anchor is None:
            self._anchor = (media_s, arrival_ms)
            return arrival_ms, False
        media_then, wall_then = self._anchor
        expected = wall_then + round((media_s - media_then) * 1000)
        difference = arrival_ms - expected
        continuous = abs(difference) < REANCHOR_MS
        start = expected + round(difference / SLEW) if continuous else arrival_ms
        if continuous and media_s > media_then:
            # A file cut off at once, behind a key frame that came late, must not end before it began.
            start = max(start, wall_then + 1)
        self._anchor = (media_s, start)
        return start, continuous
