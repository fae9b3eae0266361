"""Keeps the evidence and turns it into verdicts and statuses. No I/O: fed by the app, asked by the app."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from understudy_contracts.failovers import Failover
from understudy_contracts.machine import Heartbeat
from understudy_contracts.model import Action, Role, Verdict
from understudy_contracts.servers import Server, ServerStatus, ServerVerdict
from understudy_contracts.settings import FailoverSettings
from understudy_runtime.clock import Clock

from understudy_monitor.actions import Silence, decide, suspect_ourselves
from understudy_monitor.evidence import Evidence, add_heartbeat
from understudy_monitor.statuses import Spare, Subject, status_of
from understudy_monitor.verdicts import Finding, Listening, judge

# A loop that was held up longer than this has not heard what was said meanwhile (a stopped process, a
# starved machine): the silence is ours.
STALL_S = 1.0


@dataclass
class Watch:
    """All servers, all evidence, and the last verdict on each server."""

    clock: Clock
    listening_since: float
    connected: bool = True
    servers: dict[str, Server] = field(default_factory=dict)
    defaults: FailoverSettings = field(default_factory=FailoverSettings)
    failovers: dict[str, Failover] = field(default_factory=dict)
    verdicts: dict[str, ServerVerdict] = field(default_factory=dict)
    _evidence: dict[str, Evidence] = field(default_factory=dict)
    _since: dict[str, tuple[Verdict, float]] = field(default_factory=dict)
    _last_look: float | None = None

    def remember(self, verdicts: Sequence[ServerVerdict]) -> None:
        """Take over what an earlier life of the monitor had found."""
        for verdict in verdicts:
            self.verdicts[verdict.server] = verdict
            if verdict.machine is not None and verdict.last_seen is not None:
                self._evidence.setdefault(
                    verdict.machine, Evidence(seen_before=True, last_seen_ms=verdict.last_seen)
                )

    def know_servers(self, servers: Sequence[Server], defaults: FailoverSettings) -> None:
        self.servers = {server.id: server for server in servers}
        self.defaults = defaults
        for gone in self.verdicts.keys() - self.servers.keys():
            self.verdicts.pop(gone)

    def know_failovers(self, failovers: Sequence[Failover]) -> None:
        """All unfinished failovers."""
        self.failovers = {failover.id: failover for failover in failovers}

    def know_failover(self, failover: Failover) -> None:
        """One that changed; an older state than the known one is passed by."""
        known = self.failovers.get(failover.id)
        if known is None or known.revision < failover.revision:
            self.failovers[failover.id] = failover

    def hear(self, heartbeat: Heartbeat) -> None:
        known = self._evidence.get(heartbeat.machine, Evidence())
        now, wall_ms = self.clock.monotonic(), self.clock.wall_ms()
        self._evidence[heartbeat.machine] = add_heartbeat(known, heartbeat, now, wall_ms)

    def interrupted(self, at: float) -> None:
        """Nothing could be heard until `at`: silence counts from there."""
        self.listening_since = max(self.listening_since, at)

    def look(self) -> list[ServerVerdict]:
        """Judge every server; the verdicts that changed."""
        now = self.clock.monotonic()
        if self._last_look is not None and now - self._last_look > STALL_S:
            self.interrupted(now)
        self._last_look = now
        findings = {server.id: self._judge(server, now) for server in self.servers.values()}
        held = suspect_ourselves(self._silences(findings))
        changed = []
        for server in self.servers.values():
            verdict = self._weigh(server, findings[server.id], held.get(server.site), now)
            if verdict is not None:
                self.verdicts[server.id] = verdict
                changed.append(verdict)
        return changed

    def statuses(self) -> dict[str, ServerStatus]:
        """Every server's status."""
        unfinished = [f for f in self.failovers.values() if f.phase.value != "done"]
        busy = {f.failover_server: f.id for f in unfinished if f.failover_server}
        spares = [
            Spare(server, self._verdict(server.id), busy.get(server.id), self._staged(server))
            for server in self.servers.values()
            if server.role is Role.FAILOVER
        ]
        of_server: dict[str, list[Failover]] = {}
        for failover in sorted(unfinished, key=lambda f: f.epoch, reverse=True):
            of_server.setdefault(failover.server, []).append(failover)
            if failover.failover_server is not None:
                of_server.setdefault(failover.failover_server, []).append(failover)
        return {
            server.id: status_of(self._subject(server, of_server.get(server.id, [])), spares)
            for server in self.servers.values()
        }

    def _subject(self, server: Server, failovers: Sequence[Failover]) -> Subject:
        verdict = self.verdicts.get(server.id)
        evidence = self._evidence.get(server.machine or "", Evidence())
        return Subject(
            server=server,
            verdict=verdict.verdict if verdict else Verdict.UNKNOWN,
            reason=verdict.reason if verdict else "not seen yet",
            heartbeat=evidence.heartbeat,
            last_seen=evidence.last_seen_ms,
            failovers=failovers,
        )

    def _staged(self, server: Server) -> dict[str, int]:
        heartbeat = self._evidence.get(server.machine or "", Evidence()).heartbeat
        return heartbeat.staged if heartbeat else {}

    def _verdict(self, server: str) -> Verdict:
        known = self.verdicts.get(server)
        return known.verdict if known else Verdict.UNKNOWN

    def _settings(self, server: Server) -> FailoverSettings:
        return server.failover_settings or self.defaults

    def _judge(self, server: Server, now: float) -> Finding:
        evidence = self._evidence.get(server.machine or "", Evidence())
        listening = Listening(self.listening_since, self.connected)
        return judge(server, evidence, self._settings(server), listening, self._verdict(server.id), now)

    def _silences(self, findings: Mapping[str, Finding]) -> dict[str, Silence]:
        return {
            server.id: Silence(server.site, server.role, findings[server.id].verdict is Verdict.DISCONNECTED)
            for server in self.servers.values()
            if server.machine is not None and not server.disabled
        }

    def _weigh(self, server: Server, finding: Finding, brake: str | None, now: float) -> ServerVerdict | None:
        """The new verdict on `server`, or None if it is the old one."""
        known = self.verdicts.get(server.id)
        first, since = self._since.get(server.id, (None, now))
        if first is not finding.verdict:
            since = now
            self._since[server.id] = (finding.verdict, now)
        decision = decide(server, finding.verdict, now - since, self._settings(server), brake)
        reason = finding.reason
        if decision.action is Action.HOLD:
            reason = f"{finding.reason} (held: {decision.reason})"
        if (
            known is not None
            and known.verdict is finding.verdict
            and known.action is decision.action
            and known.reason == reason
            and known.machine == server.machine
        ):
            return None
        wall_ms = self.clock.wall_ms()
        same = known is not None and known.verdict is finding.verdict
        evidence = self._evidence.get(server.machine or "", Evidence())
        return ServerVerdict(
            server=server.id,
            machine=server.machine,
            verdict=finding.verdict,
            action=decision.action,
            reason=reason,
            since=known.since if known is not None and same else wall_ms,
            fault_at=self._fault_at(known, finding, evidence, wall_ms),
            last_seen=evidence.last_seen_ms,
            healthy_since=self._healthy_since(known, finding, wall_ms),
        )

    @staticmethod
    def _fault_at(
        known: ServerVerdict | None, finding: Finding, evidence: Evidence, wall_ms: int
    ) -> int | None:
        """When the evidence last was good: the last heartbeat for a silence, else the moment it turned."""
        if finding.verdict in {Verdict.HEALTHY, Verdict.DISABLED, Verdict.UNKNOWN}:
            return None
        if known is not None and known.verdict is not Verdict.LATE and known.fault_at is not None:
            return known.fault_at
        if finding.verdict in {Verdict.DISCONNECTED, Verdict.LATE}:
            return evidence.last_seen_ms
        return wall_ms

    @staticmethod
    def _healthy_since(known: ServerVerdict | None, finding: Finding, wall_ms: int) -> int | None:
        if finding.verdict is not Verdict.HEALTHY:
            return None
        return known.healthy_since if known is not None and known.healthy_since else wall_ms
