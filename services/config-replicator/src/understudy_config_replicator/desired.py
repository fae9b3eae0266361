"""What each machine should have: its configuration, its own settings, and those staged for others. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from understudy_contracts.model import Role
from understudy_contracts.servers import Server
from understudy_contracts.settings import (
    FailoverSettings,
    MachineConfiguration,
    Peer,
    StorageTrigger,
    TriggerSettings,
    VersionedSettings,
)

SLOWEST_HEARTBEAT_S: Final = 1.0
FASTEST_HEARTBEAT_S: Final = 0.2
BEATS_IN_A_THRESHOLD: Final = 5


@dataclass(frozen=True)
class Desired:
    """The state that a machine is to be brought to. `staged` is keyed by server."""

    configuration: MachineConfiguration
    settings: VersionedSettings | None = None
    staged: Mapping[str, VersionedSettings] = field(default_factory=dict)


def heartbeat_interval(servers: Iterable[Server], defaults: FailoverSettings) -> float:
    """A fifth of the shortest threshold of a trigger that is on, in seconds; never slower than once a second,
    nor faster than five times.

    House.md says a quarter. Silence counts from the first heartbeat that is missing, so an interval is added
    to the threshold; a fifth keeps a threshold of 2 s within half a second of its time.
    """
    thresholds = [
        trigger.after_s
        for server in servers
        if server.role is Role.RECORDING
        for trigger in _triggers(server.failover_settings or defaults)
        if trigger.enabled
    ]
    shortest = min(thresholds, default=SLOWEST_HEARTBEAT_S * BEATS_IN_A_THRESHOLD)
    return min(SLOWEST_HEARTBEAT_S, max(FASTEST_HEARTBEAT_S, shortest / BEATS_IN_A_THRESHOLD))


def _triggers(settings: FailoverSettings) -> tuple[TriggerSettings | StorageTrigger, ...]:
    return (settings.disconnection, settings.storage, settings.recorder)


def desired_states(
    servers: Iterable[Server],
    originals: Mapping[str, VersionedSettings],
    copies: Iterable[tuple[str, VersionedSettings]],
    defaults: FailoverSettings,
    addresses: Mapping[str, str],
) -> dict[str, Desired]:
    """The desired state of each machine, by its id. `addresses` says where each machine's agent can be seen.

    `originals` has every recording server's own settings,
    `copies` pairs each open copy with the machine that operates it: there the copy takes the original's
    place, whether that machine is still paired or not."""
    everyone = list(servers)
    heartbeat_s = heartbeat_interval(everyone, defaults)
    operated: dict[str, dict[str, VersionedSettings]] = {}
    for machine, copy in copies:
        operated.setdefault(machine, {})[copy.server] = copy
    return {
        server.machine: Desired(
            configuration=MachineConfiguration(
                server=server.id,
                server_name=server.name,
                role=server.role,
                heartbeat_s=heartbeat_s,
                disabled=server.disabled,
                peers=_peers(server, everyone, addresses),
            ),
            settings=originals.get(server.id) if server.role is Role.RECORDING else None,
            staged=_staged(server, everyone, originals) | operated.get(server.machine, {}),
        )
        for server in everyone
        if server.machine is not None
    }


def _peers(server: Server, everyone: list[Server], addresses: Mapping[str, str]) -> list[Peer]:
    """Whom it watches: the servers that it is paired with, on its own site; peers elsewhere would see the
    line between the sites fail, not the machine."""
    return [
        Peer(each.machine, addresses[each.machine])
        for each in everyone
        if each.machine is not None
        and addresses.get(each.machine)
        and each.site == server.site
        and (each.is_paired_with(server) or server.is_paired_with(each))
    ]


def _staged(
    server: Server, everyone: list[Server], originals: Mapping[str, VersionedSettings]
) -> dict[str, VersionedSettings]:
    if server.role is not Role.FAILOVER:
        return {}
    paired = (each.id for each in everyone if each.is_paired_with(server))
    return {each: originals[each] for each in paired if each in originals}
