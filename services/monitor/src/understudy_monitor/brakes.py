"""Reasons to hold a trigger although its condition is met (B3). Pure; each hold names its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
