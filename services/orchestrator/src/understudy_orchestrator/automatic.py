"""Whether a verdict starts a failover by itself. Pure; a refusal says why (promise P8: no flapping)."""

from __future__ import annotations

from understudy_contracts.failovers import Failover
from understudy_contracts.model import Action, Role
from understudy_contracts.servers import Server, ServerVerdict
from understudy_contracts.settings import FailoverSettings


def refusal_to_start(
    server: Server,
    verdict: ServerVerdict,
    latest: Failover | None,
    settings: FailoverSettings,
    now_ms: int,
) -> str | None:
    """Why no failover starts for `server` on this verdict, or None if one does."""
    if verdict.action is not Action.TRIGGER:
        return "the verdict is no trigger"
    if server.role is not Role.RECORDING or server.disabled:
        return "it is no recording server in service"
    if not server.pairing:
        return "it is paired with no failover server"
    if latest is None:
        return None
    if latest.holds_original:
        return f"{latest.id} protects it already"
    let_go_at = _let_go_at(latest)
    if latest.stop_confirmed and (verdict.fault_at is None or verdict.fault_at <= let_go_at):
        return f"a person stopped {latest.id} while it was away; triggers stay off until it is healthy"
    if not latest.automatic:
        return None
    quiet_s = (now_ms - let_go_at) / 1000
    if quiet_s < settings.hold_down_s:
        return (
            f"{latest.id} ended {quiet_s:.0f} s ago, within the hold-down time of {settings.hold_down_s:g} s"
        )
    return None


def _let_go_at(failover: Failover) -> int:
    """When the failover stopped protecting its server (UTC ms): the first phase after that."""
    after = [entry.at for entry in failover.phases if entry.phase.value in {"restoring", "done"}]
    return min(after, default=failover.phase_since)
