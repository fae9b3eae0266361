"""Where frames are missing, told from the numbers that the cameras themselves put into them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from typing import Protocol

import msgspec


class NumberedFrame(Protocol):
    @property
    def camera(self) -> str: ...
    @property
    def number(self) -> int: ...
    @property
    def captured_ms(self) -> int: ...


class Gap(msgspec.Struct, frozen=True):
    """A hole in a camera's footage: the frames between two that are there."""

    after_number: int
    """The last frame before the hole."""
    before_number: int
    """The first frame behind it."""
    missing_frames: int
    seconds: float
    """What the missing frames would have lasted."""
    from_captured_ms: int
    """When the camera took frame `after_number`, UTC milliseconds."""
    to_captured_ms: int
    """When the camera took frame `before_number`, UTC milliseconds."""


def find_gaps(frames: Iterable[NumberedFrame], fps: float) -> dict[str, list[Gap]]:
    """The gaps of each camera in the union of all frames, whichever files and servers they come from.

    Order does not matter, and the same frame may come any number of times. Every camera of which there is a
    frame has an entry; frames before a camera's first and behind its last are not gaps, since nobody can tell
    here when recording should have begun and ended.
    Raises ValueError for `fps` that is not positive, and when one number stands for two capture times: then
    the frames come from two runs of the camera, whose numbers cannot be compared.
    """
    if not fps > 0:
        raise ValueError(f"fps must be positive, not {fps}")
    captured: defaultdict[str, dict[int, int]] = defaultdict(dict)
    for frame in frames:
        known = captured[frame.camera].setdefault(frame.number, frame.captured_ms)
        if known != frame.captured_ms:
            raise ValueError(
                f"frame {frame.number} of {frame.camera} was captured at {known} and at {frame.captured_ms}: "
                "these are frames of two runs of this camera; look at each run alone"
            )
    return {camera: _gaps_of_one(times, fps) for camera, times in captured.items()}


def _gaps_of_one(captured_ms: dict[int, int], fps: float) -> list[Gap]:
    return [
        Gap(
            after_number=before,
            before_number=behind,
            missing_frames=behind - before - 1,
            seconds=(behind - before - 1) / fps,
            from_captured_ms=captured_ms[before],
            to_captured_ms=captured_ms[behind],
        )
        for before, behind in pairwise(sorted(captured_ms))
        if behind - before > 1
    ]
