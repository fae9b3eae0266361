"""What people see of a server: its document joined with the monitor's word on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from understudy_contracts.model import Role, Status
from understudy_contracts.servers import FailoverGlance, Server, ServerStatus

NOT_SEEN_YET = "not seen yet"
NOT_JOINED_YET = "no machine has joined yet"


class CameraCount(msgspec.Struct, frozen=True):
    active: int
    maximum: int


class FailoverView(msgspec.Struct, frozen=True):
    id: str
    phase: str
    percent: float | None
    partner: str | None
    partner_name: str
    waiting_for: str


class ServerView(msgspec.Struct, frozen=True):
    """A server in the status lists (interfaces.md); times in UTC milliseconds.

    `maintenance_until`: planned work holds its triggers until then.
    """

    id: str
    name: str
    role: Role
    site: str
    status: Status
    reason: str
    protected: bool
    protection: str
    failover_servers: list[str]
    priority: int
    cameras: CameraCount
    failover: FailoverView | None
    machine: str | None
    version: str
    last_seen: int | None
    disabled: bool
    maintenance_until: int | None


def view_of(
    server: Server, status: ServerStatus | None, failover_servers: Sequence[str], now_ms: int
) -> ServerView:
    """`failover_servers`: the ids of all there are, in order, for servers that are paired with "all"."""
    paired: list[str] = []
    if server.role is Role.RECORDING:
        paired = list(failover_servers) if server.pairing == "all" else list(server.pairing)
    if status is None:
        reason = NOT_JOINED_YET if server.machine is None else NOT_SEEN_YET
        status = ServerStatus(server.id, server.role, Status.OTHERS, reason=reason)
    until = server.maintenance_until
    return ServerView(
        id=server.id,
        name=server.name,
        role=server.role,
        site=server.site,
        status=status.status,
        reason=status.reason,
        protected=status.protected,
        protection=status.protection,
        failover_servers=paired,
        priority=server.priority,
        cameras=CameraCount(status.cameras_active, status.cameras_maximum or server.maximum_cameras),
        failover=_failover_view(status.failover),
        machine=server.machine,
        version=status.version,
        last_seen=status.last_seen,
        disabled=server.disabled,
        maintenance_until=until if until is not None and until > now_ms else None,
    )


def views_of(
    servers: Iterable[Server], statuses: Mapping[str, ServerStatus], now_ms: int
) -> list[ServerView]:
    """All servers in the order of their ids."""
    ordered = sorted(servers, key=lambda server: server.id)
    failover_servers = [server.id for server in ordered if server.role is Role.FAILOVER]
    return [view_of(server, statuses.get(server.id), failover_servers, now_ms) for server in ordered]


def counts_of(views: Iterable[ServerView]) -> dict[str, dict[str, int]]:
    """How many servers of each role are in each status (M22); those that no server is in are 0."""
    counted = Counter((view.role, view.status) for view in views)
    return {str(role): {str(status): counted[role, status] for status in _shown(role)} for role in Role}


def _shown(role: Role) -> list[Status]:
    """The statuses that a server of this role can be in."""
    never = Status.STANDBY if role is Role.RECORDING else Status.NORMAL
    return [status for status in Status if status is not never]


def _failover_view(glance: FailoverGlance | None) -> FailoverView | None:
    if glance is None:
        return None
    return FailoverView(
        id=glance.id,
        phase=glance.phase,
        percent=glance.percent,
        partner=glance.partner,
        partner_name=glance.partner_name,
        waiting_for=glance.waiting_for,
    )
