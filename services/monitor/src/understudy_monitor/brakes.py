"""Reasons to hold a trigger although its condition is met (B3). Pure; each hold names its reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from understudy_contracts.model import Role
from understudy_contracts.servers import Server

# A hold that lasts longer than this alarms people.
HOLD_LIMIT_S = 900.0


@dataclass(frozen=True)
class Silence:
    """One joined machine: where it is, what it is for, and whether it is silent."""

    site: str
    role: Role
    silent: bool


def suspect_ourselves(machines: Iterable[Silence]) -> dict[str, str]:
    """Sites whose triggers are held, each with the reason.

    When most machines vanish together, the host or its line is the likelier culprit; a site of which a
    failover server still answers is not cut off, whatever else is silent there.
    """
    sites: dict[str, list[Silence]] = {}
    for machine in machines:
        sites.setdefault(machine.site, []).append(machine)
    total = sum(len(site) for site in sites.values())
    silent = sum(machine.silent for site in sites.values() for machine in site)
    most_vanished = silent >= 2 and silent * 2 > total
    held: dict[str, str] = {}
    for site, here in sites.items():
        if any(machine.role is Role.FAILOVER and not machine.silent for machine in here):
            continue
        if most_vanished:
            held[site] = "most machines vanished together: the host or its line is suspected"
        elif len(here) > 1 and all(machine.silent for machine in here):
            held[site] = "the whole site vanished, its failover servers too: the line to it is suspected"
    return held


def maintenance(server: Server, now_ms: int) -> str | None:
    """Planned work on a server holds its triggers until it ends."""
    if server.maintenance_until is not None and now_ms < server.maintenance_until:
        return "planned maintenance"
    return None
