"""What the host knows of its servers: the documents of the api-gateway and of the monitor."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from understudy_contracts.ids import Id
from understudy_contracts.model import Action, Role, Status, Verdict
from understudy_contracts.settings import FailoverSettings, Name


class Server(msgspec.Struct, frozen=True, omit_defaults=True):
    """A server as people see it; owned by the api-gateway.

    `pairing` of a recording server: ids of failover servers, or "all" for each there is and each later one.
    `machine` is None until an agent has joined with the server's token.
    `maintenance_until` (UTC ms): planned work; no trigger acts before then.
    `failover_settings` None means: the defaults.
    """

    id: Id
    name: Name
    role: Role
    site: Id
    machine: Id | None = None
    priority: int = 0
    disabled: bool = False
    maximum_cameras: Annotated[int, Meta(ge=0, le=2000)] = 100
    pairing: list[Id] | Literal["all"] = []
    failover_settings: FailoverSettings | None = None
    maintenance_until: int | None = None
    revision: int = 0

    def is_paired_with(self, failover_server: Server) -> bool:
        """Whether `failover_server` may take this server over (M3)."""
        if self.role is not Role.RECORDING or failover_server.role is not Role.FAILOVER:
            return False
        return self.pairing == "all" or failover_server.id in self.pairing


class ServerVerdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """The monitor's current word on a server; `since` and `fault_at` in UTC milliseconds.

    `fault_at` is when the evidence last was good; `action` follows from the verdict and the settings;
    `alarm` says that a hold has lasted so long that a person must look.
    """

    server: Id
    machine: Id | None
    verdict: Verdict
    action: Action
    reason: str
    since: int
    fault_at: int | None = None
    last_seen: int | None = None
    healthy_since: int | None = None
    alarm: bool = False


class FailoverGlance(msgspec.Struct, frozen=True, omit_defaults=True):
    """The failover a server is in, as the status lists show it."""

    id: str
    phase: str
    partner: Id | None = None
    partner_name: str = ""
    percent: float | None = None
    waiting_for: str = ""


class ServerStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the status lists show of a server (M13, M22); published by the monitor."""

    server: Id
    role: Role
    status: Status
    reason: str = ""
    protected: bool = False
    protection: str = ""
    failover: FailoverGlance | None = None
    cameras_active: int = 0
    cameras_maximum: int = 0
    version: str = ""
    last_seen: int | None = None
