"""Pauses between attempts: growing, jittered, bounded."""

from __future__ import annotations

import random
from collections.abc import Iterator


def pauses(
    first: float = 0.1, most: float = 5.0, *, randomness: random.Random | None = None
) -> Iterator[float]:
    """Endless pauses in seconds: each up to twice the last one and never above `most`, with half of it
    drawn by chance, so that many who failed together do not come back together."""
    source = randomness or random.SystemRandom()
    pause = first
    while True:
        yield pause / 2 + source.random() * pause / 2
        pause = min(pause * 2, most)
