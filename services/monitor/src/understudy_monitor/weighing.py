"""From findings to what is said of a server: which matter leads, in what words, since when. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from understudy_contracts.model import Action, Verdict
from understudy_contracts.servers import ServerVerdict

from understudy_monitor.actions import Decision
from understudy_monitor.evidence import Evidence
from understudy_monitor.verdicts import Finding

SILENT = frozenset({Verdict.LATE, Verdict.DISCONNECTED, Verdict.PARTITIONED})
HEARD = frozenset(
    {
        Verdict.STORAGE_DAMAGED,
        Verdict.STORAGE_DEGRADED,
        Verdict.RECORDER_DISABLED,
        Verdict.RECORDER_MISSING,
        Verdict.RECORDER_CRASHING,
        Verdict.NOT_RECORDING,
    }
)
"""What a machine says of itself, or shows."""


def weightiest(finding: Finding, decisions: Mapping[Finding, Decision]) -> tuple[Finding, Decision]:
    """Of several matters the one that leads to something by now, else the one that was found."""
    for matter, decision in decisions.items():
        if decision.action in {Action.TRIGGER, Action.HOLD}:
            return matter, decision
    for matter, decision in decisions.items():
        if matter.verdict is finding.verdict:
            return matter, decision
    raise AssertionError("a finding is one of its matters")


def reason_of(finding: Finding, decision: Decision, *, alarm: bool) -> str:
    """The finding's words with those of the decision; `alarm` asks for a person."""
    if decision.action is not Action.HOLD:
        return f"{finding.reason} ({decision.reason})" if decision.reason else finding.reason
    if alarm:
        return f"{finding.reason} (held too long, a person must look: {decision.reason})"
    return f"{finding.reason} (held: {decision.reason})"


def fault_at(known: ServerVerdict | None, finding: Finding, evidence: Evidence, wall_ms: int) -> int | None:
    """When the evidence last was good: the last heartbeat for a silence, else the moment it turned."""
    if finding.verdict in {Verdict.HEALTHY, Verdict.DISABLED, Verdict.UNKNOWN}:
        return None
    if known is not None and known.verdict is not Verdict.LATE and known.fault_at is not None:
        return known.fault_at
    if finding.verdict in SILENT:
        return evidence.last_seen_ms
    return wall_ms


def healthy_since(known: ServerVerdict | None, finding: Finding, wall_ms: int) -> int | None:
    """Since when it has been healthy without interruption; None while it is not."""
    if finding.verdict is not Verdict.HEALTHY:
        return None
    return known.healthy_since if known is not None and known.healthy_since else wall_ms
