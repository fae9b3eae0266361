"""Keeps the evidence and turns it into verdicts and statuses. No I/O: fed by the app, asked by the app.

A thousand machines speak several times a second, and nearly always say what they said before: only servers
about which something may have changed are judged again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from understudy_contracts.failovers import Failover
from understudy_contracts.model import Action, Phase, Role, Verdict
from understudy_contracts.servers import Server, ServerStatus, ServerVerdict
from understudy_contracts.settings import FailoverSettings
from understudy_runtime.clock import Clock

from understudy_monitor.actions import decide, explains
from understudy_monitor.brakes import HOLD_LIMIT_S, SiteHolds
from understudy_monitor.evidence import Beat, Evidence, Sighting, add_heartbeat, weighs_the_same
from understudy_monitor.maintenance import Maintenance
from understudy_monitor.standing import Standing
from understudy_monitor.statuses import Spare, Subject, status_of
from understudy_monitor.verdicts import LATE_AFTER_BEATS, Finding, Listening, judge, stands_still
from understudy_monitor.weighing import HEARD, SILENT, fault_at, healthy_since, reason_of, weightiest

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
    statuses: dict[str, ServerStatus] = field(default_factory=dict)
    _evidence: dict[str, Evidence] = field(default_factory=dict)
    _sightings: dict[str, dict[str, Sighting]] = field(default_factory=dict)
    _server_of: dict[str, str] = field(default_factory=dict)
    _standing: Standing = field(default_factory=Standing)
    _holds: SiteHolds = field(default_factory=SiteHolds)
    _maintenance: Maintenance = field(default_factory=Maintenance)
    _unsettled: set[str] = field(default_factory=set)
    _changed: set[str] = field(default_factory=set)
    _all_changed: bool = True
    _last_look: float | None = None

    # --- feeding ---------------------------------------------------------------------------------------

    def remember(self, verdicts: Sequence[ServerVerdict]) -> None:
        """Take over what an earlier life of the monitor had found."""
        for verdict in verdicts:
            self.verdicts[verdict.server] = verdict
            if verdict.machine is not None and verdict.last_seen is not None:
                self._evidence.setdefault(
                    verdict.machine, Evidence(seen_before=True, last_seen_ms=verdict.last_seen)
                )

    def know_servers(self, servers: Sequence[Server], defaults: FailoverSettings) -> None:
        """All servers, and the failover settings of those that have none of their own."""
        known = {server.id: server for server in servers}
        if known == self.servers and defaults == self.defaults:
            return
        self.servers, self.defaults = known, defaults
        self._maintenance.know(servers, self.clock.monotonic(), self.clock.wall_ms())
        self._server_of = {server.machine: server.id for server in servers if server.machine is not None}
        self._holds.know(servers)
        self._standing.forget_all_but(known)
        for memory in (self.verdicts, self.statuses):
            for gone in memory.keys() - known.keys():
                del memory[gone]
        self._all_changed = True

    def know_failovers(self, failovers: Sequence[Failover]) -> None:
        """All unfinished failovers."""
        known = {failover.id: failover for failover in failovers}
        for id_, before in self.failovers.items():
            # What an event told while these were read is newer.
            if id_ in known and known[id_].revision < before.revision:
                known[id_] = before
        if known != self.failovers:
            self.failovers = known
            self._all_changed = True

    def know_failover(self, failover: Failover) -> None:
        """One that changed; an older state than the known one is passed by."""
        known = self.failovers.get(failover.id)
        if known is None or known.revision < failover.revision:
            self.failovers[failover.id] = failover
            self._all_changed = True

    def hear(self, heartbeat: Beat) -> None:
        """A heartbeat, a report of state, or the answer to a probe."""
        known = self._evidence.get(heartbeat.machine, Evidence())
        now, wall_ms = self.clock.monotonic(), self.clock.wall_ms()
        evidence = add_heartbeat(known, heartbeat, now, wall_ms)
        if evidence is known:
            return
        self._evidence[heartbeat.machine] = evidence
        for seen in heartbeat.peers:
            sighting = Sighting(now - seen.age_ms / 1000, seen.reachable, seen.records)
            self._sightings.setdefault(seen.machine, {})[heartbeat.machine] = sighting
        server = self._server_of.get(heartbeat.machine)
        if server is not None and self._tells_something_new(server, known, evidence):
            self._changed.add(server)

    def interrupted(self, at: float) -> None:
        """Nothing could be heard until `at`: silence counts from there."""
        if at > self.listening_since:
            self.listening_since = at
            self._unsettled.update(self.servers)

    # --- judging ---------------------------------------------------------------------------------------

    def look(self) -> list[ServerVerdict]:
        """Judge every server about which something may have changed; the verdicts that did."""
        now = self.clock.monotonic()
        if self._last_look is not None and now - self._last_look > STALL_S:
            self.interrupted(now)
        self._last_look = now
        self._changed.update(self._maintenance.end(now))
        to_judge = self._to_judge(now)
        findings = {server: self._judge(self.servers[server], now) for server in to_judge}
        changed = []
        # Late counts too: of machines that vanish together the first one's time is up before the others'.
        # Whoever is silent is judged at every look, so that none is left out here.
        silent = [self.servers[server] for server, finding in findings.items() if finding.verdict in SILENT]
        held = self._holds.now(silent, now)
        for server_id, finding in findings.items():
            server = self.servers[server_id]
            brake = held.get(server.site) if finding.verdict is Verdict.DISCONNECTED else None
            verdict = self._weigh(server, finding, brake, now)
            if verdict is not None:
                self.verdicts[server_id] = verdict
                changed.append(verdict)
        self._unsettled = {s for s in findings if findings[s].verdict is not Verdict.HEALTHY}
        return changed

    def late(self) -> list[str]:
        """Machines whose heartbeats are late or gone: to be asked directly."""
        return [
            verdict.machine
            for verdict in self.verdicts.values()
            if verdict.verdict in SILENT and verdict.machine is not None
        ]

    def skewed(self, limit_ms: int) -> dict[str, int]:
        """Machines whose wall clock is further from ours than `limit_ms`, and how far ahead it is."""
        found = {machine: evidence.skew_ms for machine, evidence in self._evidence.items()}
        return {machine: skew for machine, skew in found.items() if abs(skew) > limit_ms}

    def _to_judge(self, now: float) -> Iterable[str]:
        if self._all_changed or not self.connected:
            return list(self.servers)
        silent = set()
        for machine, server in self._server_of.items():
            evidence = self._evidence.get(machine)
            if evidence is None or evidence.heard_at is None or evidence.heartbeat is None:
                continue
            if now - evidence.heard_at > (1 + LATE_AFTER_BEATS) * evidence.heartbeat.heartbeat_s:
                silent.add(server)
        return [s for s in self._changed | self._unsettled | silent if s in self.servers]

    def _tells_something_new(self, server: str, before: Evidence, after: Evidence) -> bool:
        if before.heartbeat is None or after.heartbeat is None:
            return True
        if not weighs_the_same(before.heartbeat, after.heartbeat):
            return True
        known = self.servers.get(server)
        return known is not None and bool(stands_still(after, self._settings(known).recorder.after_s))

    def _settings(self, server: Server) -> FailoverSettings:
        return server.failover_settings or self.defaults

    def _judge(self, server: Server, now: float) -> Finding:
        machine = server.machine or ""
        return judge(
            server,
            self._evidence.get(machine, Evidence()),
            self._settings(server),
            Listening(self.listening_since, self.connected),
            self._verdict(server.id),
            now,
            self._sightings.get(machine, {}).values(),
        )

    def _verdict(self, server: str) -> Verdict:
        known = self.verdicts.get(server)
        return known.verdict if known else Verdict.UNKNOWN

    def _weigh(self, server: Server, finding: Finding, brake: str | None, now: float) -> ServerVerdict | None:
        """The new verdict on `server`, or None if it is the old one."""
        known = self.verdicts.get(server.id)
        evidence = self._evidence.get(server.machine or "", Evidence())
        at = now
        if finding.verdict in HEARD:
            if evidence.heard_at is None:
                # Nothing was heard in this life of ours: what stands written stays (promise P7).
                return None
            # What heartbeats tell holds for as long as they tell it, not while there are none.
            at = evidence.heard_at
        planned = self._maintenance.words(server.id)
        matters = finding.matters or (finding,)
        if any(explains(matter.verdict, self._settings(server)) for matter in matters):
            # People are told what it comes from.
            matters = tuple(matter for matter in matters if matter.verdict is not Verdict.NOT_RECORDING)
        since = self._standing.note(server.id, [matter.verdict for matter in matters], at)
        finding, decision = weightiest(
            finding,
            {
                matter: decide(
                    server,
                    matter.verdict,
                    at - since[matter.verdict],
                    self._settings(server),
                    planned or brake,
                )
                for matter in matters
            },
        )
        # People set the limit of planned maintenance themselves.
        lasting = decision.action is Action.HOLD and decision.reason != planned
        alarm = lasting and now - since[finding.verdict] >= HOLD_LIMIT_S
        reason = reason_of(finding, decision, alarm=alarm)
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
        return ServerVerdict(
            server=server.id,
            machine=server.machine,
            verdict=finding.verdict,
            action=decision.action,
            reason=reason,
            since=known.since if known is not None and same else wall_ms,
            fault_at=fault_at(known, finding, evidence, wall_ms),
            last_seen=evidence.last_seen_ms,
            healthy_since=healthy_since(known, finding, wall_ms),
            alarm=alarm,
        )

    # --- statuses --------------------------------------------------------------------------------------

    def statuses_now(self, judged: Sequence[ServerVerdict]) -> list[ServerStatus]:
        """The statuses that changed, given the verdicts that did; call it after `look`."""
        concerned = self._changed | {verdict.server for verdict in judged}
        spares_changed = any(
            server in self.servers and self.servers[server].role is Role.FAILOVER for server in concerned
        )
        everyone = self._all_changed or spares_changed
        self._all_changed = False
        self._changed = set()
        spares, of_server = self._around()
        changed = []
        for server in self.servers.values():
            if not everyone and server.id not in concerned:
                continue
            status = status_of(self._subject(server, of_server.get(server.id, [])), spares)
            if self.statuses.get(server.id) != status:
                self.statuses[server.id] = status
                changed.append(status)
        return changed

    def last_seen(self) -> dict[str, int]:
        """When each server's machine was last heard, in UTC milliseconds."""
        found = {}
        for machine, server in self._server_of.items():
            seen = self._evidence.get(machine, Evidence()).last_seen_ms
            if seen is not None:
                found[server] = seen
        return found

    def _around(self) -> tuple[list[Spare], dict[str, list[Failover]]]:
        unfinished = [f for f in self.failovers.values() if f.phase is not Phase.DONE]
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
        return spares, of_server

    def _subject(self, server: Server, failovers: Sequence[Failover]) -> Subject:
        verdict = self.verdicts.get(server.id)
        return Subject(
            server=server,
            verdict=verdict.verdict if verdict else Verdict.UNKNOWN,
            reason=verdict.reason if verdict else "not seen yet",
            heartbeat=self._evidence.get(server.machine or "", Evidence()).heartbeat,
            failovers=failovers,
            maintenance=self._maintenance.words(server.id) or "",
        )

    def _staged(self, server: Server) -> dict[str, int]:
        heartbeat = self._evidence.get(server.machine or "", Evidence()).heartbeat
        return heartbeat.staged if heartbeat else {}
