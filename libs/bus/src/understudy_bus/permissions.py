"""What each user of the bus may say and hear (promise P12): one table, no exceptions elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field

from understudy_contracts.model import Service
from understudy_contracts.subjects import MachineAddress, Subjects

OBSERVER = "observer"


@dataclass(frozen=True)
class Permissions:
    """Subjects that a user may publish to and subscribe to; answering a request is always allowed.

    Of what it subscribes to, it never hears what is `hidden` (an allowed `_INBOX.*` would not do: the server
    takes a subscription to `_INBOX.>` for part of it).
    """

    publish: list[str] = field(default_factory=list)
    subscribe: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)


# Which kinds of events a service writes, which machine commands it gives, which services it asks.
_WRITES: dict[Service, list[str]] = {
    Service.MONITOR: ["server.*.verdict", "server.*.status"],
    Service.ORCHESTRATOR: ["failover.>"],
    Service.LICENSE_BROKER: ["license.>"],
    Service.CONFIG_REPLICATOR: ["settings.>", "camera.>"],
    Service.RECORDING_SYNC: ["restoration.>"],
    Service.API_GATEWAY: ["server.*.*", "user.>"],
}
_COMMANDS: dict[Service, list[str]] = {
    Service.MONITOR: ["report-state"],
    Service.ORCHESTRATOR: [
        "activate",
        "permit",
        "stand-down",
        "resume",
        "release",
        "clear-footage",
        "report-state",
    ],
    Service.LICENSE_BROKER: [],
    Service.CONFIG_REPLICATOR: ["configure", "stage", "unstage"],
    Service.RECORDING_SYNC: ["fetch-footage", "stop-fetching"],
    Service.API_GATEWAY: ["erase"],
}
_ASKS: dict[Service, list[Service]] = {
    Service.MONITOR: [],
    Service.ORCHESTRATOR: [
        Service.LICENSE_BROKER,
        Service.CONFIG_REPLICATOR,
        Service.RECORDING_SYNC,
        Service.MONITOR,
    ],
    Service.LICENSE_BROKER: [],
    Service.CONFIG_REPLICATOR: [],
    Service.RECORDING_SYNC: [],
    Service.API_GATEWAY: [
        Service.MONITOR,
        Service.ORCHESTRATOR,
        Service.LICENSE_BROKER,
        Service.CONFIG_REPLICATOR,
        Service.RECORDING_SYNC,
    ],
}


def inbox_of(user: str) -> str:
    """The inbox prefix of a user; nobody else may listen to it."""
    return f"_INBOX.{user}"


def service_permissions(service: Service, subjects: Subjects) -> Permissions:
    prefix = subjects.prefix
    return Permissions(
        publish=[
            *(f"{prefix}.evt.{kinds}" for kinds in _WRITES[service]),
            *(f"{prefix}.site.*.machine.*.do.{command}" for command in _COMMANDS[service]),
            *(f"{prefix}.host.{asked}.*" for asked in _ASKS[service]),
            f"{prefix}.dead-letter.{service}.>",
            *_jetstream(subjects),
        ],
        subscribe=[
            f"{prefix}.host.{service}.*",
            f"{prefix}.site.*.machine.*.heartbeat",
            f"{prefix}.site.*.machine.*.report.*",
            f"{prefix}.evt.>",
            "$SRV.>",
            f"{inbox_of(service)}.>",
        ],
    )


def machine_permissions(address: MachineAddress, subjects: Subjects) -> Permissions:
    """An agent speaks for its own machine only, and hears its own commands only."""
    own = subjects.machine(address)
    return Permissions(
        publish=[f"{own}.heartbeat", f"{own}.report.*"],
        subscribe=[f"{own}.do.*", f"{inbox_of(address.machine)}.>"],
    )


def observer_permissions(subjects: Subjects) -> Permissions:
    """A person with the NATS CLI: sees everything that goes over the bus, changes nothing.

    Commands to agents carry camera passwords and tokens, so those are not shown.
    """
    prefix = subjects.prefix
    return Permissions(
        publish=["$SRV.>", *_jetstream(subjects, reads_only=True)],
        subscribe=[
            f"{prefix}.evt.>",
            f"{prefix}.site.*.machine.*.heartbeat",
            f"{prefix}.site.*.machine.*.report.*",
            f"{prefix}.dead-letter.>",
            f"{inbox_of(OBSERVER)}.>",
            # Where the NATS CLI awaits answers; those to services hold passwords and signed grants.
            "_INBOX.>",
        ],
        hidden=[f"{inbox_of(service)}.>" for service in Service],
    )


def _jetstream(subjects: Subjects, *, reads_only: bool = False) -> list[str]:
    """The API of the stream of events. With `reads_only` no consumer can be made, taken from or deleted:
    those there belong to services, which would miss events."""
    stream = subjects.events_stream
    reading = [
        "$JS.API.INFO",
        f"$JS.API.STREAM.INFO.{stream}",
        "$JS.API.STREAM.NAMES",
        "$JS.API.STREAM.LIST",
        f"$JS.API.STREAM.MSG.GET.{stream}",
        f"$JS.API.DIRECT.GET.{stream}",
        f"$JS.API.DIRECT.GET.{stream}.>",
        f"$JS.API.CONSUMER.NAMES.{stream}",
        f"$JS.API.CONSUMER.LIST.{stream}",
        f"$JS.API.CONSUMER.INFO.{stream}.*",
    ]
    if reads_only:
        return reading
    return [
        *reading,
        f"$JS.API.CONSUMER.*.{stream}",
        f"$JS.API.CONSUMER.*.{stream}.>",
        f"$JS.API.CONSUMER.DURABLE.CREATE.{stream}.>",
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.>",
        f"$JS.ACK.{stream}.>",
        "$JS.FC.>",
        f"$JS.API.STREAM.CREATE.{stream}",
    ]
