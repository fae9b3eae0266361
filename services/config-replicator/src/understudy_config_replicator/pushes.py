"""Which commands a machine needs, told from what it should have and what its heartbeat says. Pure."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from understudy_contracts.commands import AgentCommand, Configure, Stage, Unstage
from understudy_contracts.machine import Heartbeat, Serving

from understudy_config_replicator.desired import Desired


def pending_pushes(
    desired: Desired, heartbeat: Heartbeat, renamed: AbstractSet[str] = frozenset()
) -> list[AgentCommand]:
    """The commands that are missing, in the order in which they are to be sent; none when all is well.

    `renamed` are servers whose name changed since the machine was told it; the heartbeat has no names.
    A machine that reports a higher version than ours is left alone: it would refuse the lower one, and the
    newer one is on its way to us.
    """
    commands: list[AgentCommand] = []
    if _configuration_differs(desired, heartbeat) or desired.configuration.server in renamed:
        commands.append(Configure(desired.configuration, desired.settings))
    for server, settings in desired.staged.items():
        held = heartbeat.staged.get(server)
        if held is None or held < settings.version or (held == settings.version and server in renamed):
            commands.append(Stage(settings))
    busy_with = heartbeat.duty.server if isinstance(heartbeat.duty, Serving) else None
    # What is being served is not taken away: it ends with Release, and goes after that.
    commands.extend(
        Unstage(server) for server in heartbeat.staged if server not in desired.staged and server != busy_with
    )
    return commands


def _configuration_differs(desired: Desired, heartbeat: Heartbeat) -> bool:
    configuration = desired.configuration
    if not heartbeat.configured:
        return True
    told = (configuration.server, configuration.role, configuration.disabled, configuration.heartbeat_s)
    if told != (heartbeat.server, heartbeat.role, heartbeat.disabled, heartbeat.heartbeat_s):
        return True
    watched = {(seen.machine, seen.address) for seen in heartbeat.peers}
    if watched != {(peer.machine, peer.address) for peer in configuration.peers}:
        return True
    return desired.settings is not None and heartbeat.settings_version < desired.settings.version
