"""The subjects of the bus (interfaces.md, Bus)."""

from __future__ import annotations

from dataclasses import dataclass

from understudy_contracts.ids import check_id


@dataclass(frozen=True)
class MachineAddress:
    """Where a machine listens: its site and its id."""

    site: str
    machine: str


@dataclass(frozen=True)
class Subjects:
    """All subjects under one prefix; tests isolate themselves by another prefix than `understudy`."""

    prefix: str = "understudy"

    def __post_init__(self) -> None:
        check_id(self.prefix, "subject prefix")

    @property
    def events_stream(self) -> str:
        """The name of the JetStream stream that keeps the events."""
        return "EVENTS" if self.prefix == "understudy" else f"EVENTS-{self.prefix}"

    @property
    def all_events(self) -> str:
        return f"{self.prefix}.evt.>"

    @property
    def all_heartbeats(self) -> str:
        return f"{self.prefix}.site.*.machine.*.heartbeat"

    def all_reports(self, kind: str) -> str:
        return f"{self.prefix}.site.*.machine.*.report.{check_id(kind, 'report')}"

    def machine(self, address: MachineAddress) -> str:
        site, machine = check_id(address.site, "site"), check_id(address.machine, "machine id")
        return f"{self.prefix}.site.{site}.machine.{machine}"

    def heartbeat(self, address: MachineAddress) -> str:
        return f"{self.machine(address)}.heartbeat"

    def report(self, address: MachineAddress, kind: str) -> str:
        return f"{self.machine(address)}.report.{check_id(kind, 'report')}"

    def command(self, address: MachineAddress, command: str) -> str:
        return f"{self.machine(address)}.do.{check_id(command, 'command')}"

    def commands(self, address: MachineAddress) -> str:
        return f"{self.machine(address)}.do.*"

    def verb(self, service: str, verb: str) -> str:
        return f"{self.prefix}.host.{check_id(service, 'service')}.{check_id(verb, 'verb')}"

    def event(self, kind: str, subject: str, event: str) -> str:
        parts = (check_id(kind, "event kind"), check_id(subject), check_id(event, "event"))
        return f"{self.prefix}.evt.{'.'.join(parts)}"

    def machine_of(self, subject: str) -> MachineAddress | None:
        """The machine that a heartbeat or report came from, told by the subject, which the server guards."""
        parts = subject.split(".")
        if len(parts) < 6 or parts[1] != "site" or parts[3] != "machine":
            return None
        return MachineAddress(parts[2], parts[4])
