"""A limit in bytes a second, shared by all who take from it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class Bucket:
    """How long to wait before bytes may pass: never more than a second's worth at once. Pure."""

    def __init__(self, now: float) -> None:
        self._free_at = now

    def take(self, count: int, rate: int | None, now: float) -> float:
        """Seconds to wait for `count` bytes at `rate` bytes a second (None: no limit), from `now`."""
        if rate is None or rate <= 0:
            self._free_at = now
            return 0.0
        # What was not used for a while is lost, so that no burst follows a standstill.
        self._free_at = max(self._free_at, now) + count / rate
        return max(0.0, self._free_at - now - count / rate)


class RateLimit:
    """Sleeps as the bucket says; the rate may change meanwhile."""

    def __init__(self, rate: Callable[[], int | None]) -> None:
        self._rate = rate
        self._bucket = Bucket(time.monotonic())

    def chunk_bytes(self, most: int) -> int:
        """How much to take at once, so that a slow rate still flows evenly."""
        rate = self._rate()
        return most if not rate else max(4096, min(most, rate // 8))

    async def take(self, count: int) -> None:
        wait = self._bucket.take(count, self._rate(), time.monotonic())
        if wait > 0:
            await asyncio.sleep(wait)
