"""Which phase may follow which: the one table. The diagram in docs/ is generated from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from understudy_contracts.model import Phase

TRANSITIONS: Final[Mapping[Phase, Mapping[Phase, str]]] = {
    Phase.WAITING: {
        Phase.LICENSING: "a failover server is free and fit",
        Phase.DONE: "stopped, or the original recovered",
    },
    Phase.LICENSING: {
        Phase.ACTIVATING: "keys moved",
        Phase.HANDING_BACK: "stopped",
        Phase.RESTORING: "failover server lost: a new failover goes on",
    },
    Phase.ACTIVATING: {
        Phase.STANDING_DOWN: "cameras confirmed, the original answers",
        Phase.ACTIVE: "cameras confirmed, the original is away",
        Phase.HANDING_BACK: "stopped",
        Phase.RESTORING: "failover server lost: a new failover goes on",
    },
    Phase.STANDING_DOWN: {
        Phase.ACTIVE: "the original stands down, or went away",
        Phase.HANDING_BACK: "stopped",
        Phase.RESTORING: "failover server lost: a new failover goes on",
    },
    Phase.ACTIVE: {
        Phase.HANDING_BACK: "stopped, or the reason has cleared",
        Phase.RESTORING: "failover server lost: a new failover goes on",
        Phase.REPLACING: "the original never comes back",
    },
    Phase.HANDING_BACK: {
        Phase.LICENSING: "the original is away again",
        Phase.RESTORING: "the original records, the failover server has let go",
    },
    Phase.REPLACING: {Phase.RESTORING: "another machine is the server now"},
    Phase.RESTORING: {Phase.CLEARING: "footage is home, or given up"},
    Phase.CLEARING: {Phase.DONE: "the failover server is on standby"},
    Phase.DONE: {},
}


def may_follow(phase: Phase, following: Phase) -> bool:
    """Whether a failover may go from `phase` to `following`."""
    return following in TRANSITIONS[phase]


def mermaid() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> waiting"]
    for phase, following in TRANSITIONS.items():
        lines += [f"    {_node(phase)} --> {_node(next_)}: {why}" for next_, why in following.items()]
    lines.append("    done --> [*]")
    return "\n".join(lines) + "\n"


def _node(phase: Phase) -> str:
    return phase.value.replace("-", "_")
