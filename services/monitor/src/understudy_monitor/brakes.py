"""Reasons to hold a trigger although its condition is met (B3). No I/O; each hold names its reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from understudy_contracts.model import Role
from understudy_contracts.servers import Server

from understudy_monitor.verdicts import SETTLING_S

# A hold that lasts longer than this alarms people.
HOLD_LIMIT_S = 900.0


@dataclass(frozen=True)
class Site:
    """How many joined machines a site has, how many of them are failover servers, and how many are silent."""

    machines: int
    failover_servers: int
    silent: int = 0
    silent_failover_servers: int = 0


def suspect_ourselves(sites: Mapping[str, Site]) -> dict[str, str]:
    """Sites whose triggers are held, each with the reason.

    When most machines vanish together, the host or its line is the likelier culprit; a site of which a
    failover server still answers is not cut off, whatever else is silent there.
    """
    total = sum(site.machines for site in sites.values())
    silent = sum(site.silent for site in sites.values())
    most_vanished = silent >= 2 and silent * 2 > total
    held: dict[str, str] = {}
    for name, site in sites.items():
        if site.silent_failover_servers < site.failover_servers:
            continue
        if most_vanished:
            held[name] = "most machines vanished together: the host or its line is suspected"
        elif site.silent == site.machines > 1:
            held[name] = "the whole site vanished, its failover servers too: the line to it is suspected"
    return held


class SiteHolds:
    """The sites whose triggers are held. Times are monotonic seconds.

    A hold begins when machines are late together, before the time of any is up, and outlives its reason by
    the settling time: machines that were cut off come back one by one, and the last of them are not dead.
    """

    def __init__(self) -> None:
        self._sites: dict[str, tuple[int, int]] = {}
        self._held: dict[str, tuple[str, float]] = {}

    def know(self, servers: Iterable[Server]) -> None:
        """All servers there are."""
        joined = [server for server in servers if server.machine is not None and not server.disabled]
        self._sites = {
            site: (len(here), sum(server.role is Role.FAILOVER for server in here))
            for site in {server.site for server in joined}
            if (here := [server for server in joined if server.site == site])
        }

    def now(self, silent: Iterable[Server], now: float) -> Mapping[str, str]:
        """Why each held site is, when these servers, and no others, are silent."""
        counts: dict[str, list[int]] = {}
        for server in silent:
            count = counts.setdefault(server.site, [0, 0])
            count[0] += 1
            count[1] += server.role is Role.FAILOVER
        if counts:
            census = {
                site: Site(machines, failover_servers, *counts.get(site, (0, 0)))
                for site, (machines, failover_servers) in self._sites.items()
            }
            for site, reason in suspect_ourselves(census).items():
                self._held[site] = (reason, now)
        self._held = {site: held for site, held in self._held.items() if now - held[1] < SETTLING_S}
        return {site: reason for site, (reason, _) in self._held.items()}
