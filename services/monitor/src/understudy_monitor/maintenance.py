"""Planned work on servers: none of their triggers acts until it ends, which it does by itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from understudy_contracts.servers import Server


@dataclass
class _Work:
    """`until_ms` is the end as people gave it, `ends_at` the same by the monotonic clock."""

    until_ms: int
    ends_at: float
    over: bool = False


class Maintenance:
    """Which servers are in planned maintenance.

    Its end is given in UTC, and counted from when it became known: a jump of the wall clock neither ends it
    early nor lets it go on.
    """

    def __init__(self) -> None:
        self._works: dict[str, _Work] = {}

    def know(self, servers: Iterable[Server], now: float, wall_ms: int) -> None:
        """All servers there are; `now` is monotonic."""
        known = self._works
        self._works = {}
        for server in servers:
            until_ms = server.maintenance_until
            if until_ms is None:
                continue
            work = known.get(server.id)
            if work is None or work.until_ms != until_ms:
                work = _Work(until_ms, now + (until_ms - wall_ms) / 1000)
            self._works[server.id] = work

    def end(self, now: float) -> list[str]:
        """The servers whose maintenance has come to its end since this was last asked."""
        ended = [server for server, work in self._works.items() if not work.over and now >= work.ends_at]
        for server in ended:
            self._works[server].over = True
        return ended

    def words(self, server: str) -> str | None:
        """`planned maintenance until 2026-01-31 12:00:00 UTC`; None without any."""
        work = self._works.get(server)
        if work is None or work.over:
            return None
        until = datetime.fromtimestamp(work.until_ms / 1000, UTC)
        return f"planned maintenance until {until:%Y-%m-%d %H:%M:%S} UTC"
