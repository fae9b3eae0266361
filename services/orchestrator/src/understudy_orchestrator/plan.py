"""What a failover does next. Pure: the failover and a snapshot of the world in, one move out.

The driver carries out the move, records it, and asks again: so any instance can go on after a crash, from
whatever was recorded last. A step counts as taken if it ended without error since its phase was entered.
"""

from __future__ import annotations

from understudy_contracts.failovers import Failover
from understudy_contracts.model import Phase

from understudy_orchestrator import giving_back, taking_over
from understudy_orchestrator.moves import Move, Wait
from understudy_orchestrator.world import World


def next_move(failover: Failover, world: World) -> Move:
    """The one next move of `failover` in `world`."""
    match failover.phase:
        case Phase.WAITING:
            return taking_over.waiting(failover, world)
        case Phase.LICENSING:
            return taking_over.licensing(failover, world)
        case Phase.ACTIVATING:
            return taking_over.activating(failover, world)
        case Phase.STANDING_DOWN:
            return taking_over.standing_down(failover, world)
        case Phase.ACTIVE:
            return taking_over.active(failover, world)
        case Phase.HANDING_BACK:
            return giving_back.handing_back(failover, world)
        case Phase.RESTORING:
            return giving_back.restoring(failover, world)
        case Phase.CLEARING:
            return giving_back.clearing(failover, world)
        case Phase.REPLACING | Phase.DONE:
            return Wait()
