"""M16: what interrupts a failover (disabling or deleting a server in it, editing its failover settings) says
what that destroys, and then does it."""

from __future__ import annotations

from understudy_contracts.errors import Conflict, NotFound
from understudy_contracts.failovers import Failover
from understudy_contracts.model import Phase
from understudy_contracts.servers import Server
from understudy_contracts.verbs import STOP_FAILOVER, STOP_RESTORATION, StopFailover, StopRestoration
from understudy_store import collections

from understudy_api_gateway.confirmations import require_confirmation
from understudy_api_gateway.identity import Identity
from understudy_api_gateway.parts import Parts
from understudy_api_gateway.resources.failovers.going_dark import what_goes_dark


def what_it_interrupts(server: Server, failover: Failover) -> str:
    """What becomes of `failover` when `server` is disabled, deleted or set up anew, for people."""
    dark = failover.holds_original and failover.original == "away"
    if server.id == failover.server:
        said = (
            f"{server.name} is in failover {failover.id}: this interrupts it and erases the data of "
            f"{failover.failover_server_name or 'the failover server'}."
        )
    else:
        said = (
            f"{server.name} serves for {failover.server_name} in failover {failover.id}: "
            f"this interrupts it and erases the data of {server.name}."
        )
    return f"{said} {what_goes_dark(failover)}" if dark else said


async def interrupt_failovers(
    parts: Parts, identity: Identity, server: Server, action: str, confirmation: str | None
) -> None:
    """Stop the failovers that `server` is in, once that is confirmed; without any, do nothing.

    Raises:
        ConfirmationRequired: there are some, and `confirmation` is not the token for exactly these.
        Unavailable: the orchestrator does not answer.
    """
    involved = await collections.failovers(parts.database).find(
        {
            "phase": {"$ne": str(Phase.DONE)},
            "$or": [{"server": server.id}, {"failover_server": server.id}],
        },
        order=[("epoch", 1)],
    )
    if not involved:
        return
    require_confirmation(
        confirmation,
        session=identity.session,
        action=action,
        subject=server.id,
        destroys=" ".join(what_it_interrupts(server, failover) for failover in involved),
    )
    for failover in involved:
        await _stop(parts, identity, failover)


async def _stop(parts: Parts, identity: Identity, failover: Failover) -> None:
    try:
        if failover.holds_original:
            stop = StopFailover(failover.id, identity.user, confirmed=True)
            await parts.ask(
                STOP_FAILOVER, stop, user=identity.user, what="stopped-failover", subject=failover.id
            )
        else:
            halt = StopRestoration(failover.id, identity.user)
            await parts.ask(
                STOP_RESTORATION, halt, user=identity.user, what="stopped-restoration", subject=failover.id
            )
    except (Conflict, NotFound):
        return  # it ended meanwhile, or has already been told to stop
