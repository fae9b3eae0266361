"""What the outage scenario showed, in figures (interfaces.md, `--report FILE`). Pure: no files, no clock."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from understudy_contracts.failovers import Failover
from understudy_contracts.licenses import LedgerEntry, overlapping_holdings
from understudy_lab.gaps import Gap


@dataclass(frozen=True)
class CameraFootage:
    """What all servers' files together hold of one camera. Times are UTC milliseconds."""

    gaps: list[Gap]
    first_captured_at: int
    last_captured_at: int


@dataclass(frozen=True)
class Homecoming:
    """What lay on the failover server, and how much of it was found at home with the same hash."""

    files: int
    found: int

    @property
    def missing(self) -> int:
        return self.files - self.found


@dataclass(frozen=True)
class Evidence:
    """Everything that the demo saw. Times are UTC milliseconds, taken from clocks of this machine.

    `first_key_frames` tells for each camera when the first key frame of the failover server's files was
    there; `footage` has an entry for each camera of which there is any frame.
    """

    killed_at: int
    stopped_at: int
    gop_s: float
    victim_cameras: list[str]
    all_cameras: list[str]
    failovers: list[Failover]
    first_key_frames: Mapping[str, int]
    footage: Mapping[str, CameraFootage]
    ledger: list[LedgerEntry]
    homecoming: Homecoming
    failover_server_clean: bool
    statuses: dict[str, str]
    unreadable_files: list[str]
    unfinished_files: list[str]
    orchestrator_killed_in: str = ""

    @property
    def failover(self) -> Failover:
        """The failover of the killed server: the first, should there be more."""
        return min(self.failovers, key=lambda failover: failover.epoch)


class GapFigures(msgspec.Struct, frozen=True):
    """Seconds: the longest hole of any camera, and the median over the killed server's cameras."""

    max: float
    p50: float


class StepFigures(msgspec.Struct, frozen=True):
    name: str
    started_at: int
    duration_ms: int | None


class LicenseFigures(msgspec.Struct, frozen=True):
    moved: int
    double_holders: int


class RestoredFigures(msgspec.Struct, frozen=True):
    files: int
    bytes: int
    verified: int
    missing: int


class Report(msgspec.Struct, frozen=True):
    """`cameras` counts the killed server's cameras that were taken over, of `cameras_expected`."""

    cameras: int
    cameras_expected: int
    detection_s: float | None
    gop_s: float
    takeover_s: float | None
    gap_s: GapFigures
    gaps: dict[str, int]
    steps: list[StepFigures]
    licenses: LicenseFigures
    restored: RestoredFigures
    failover_server_clean: bool
    statuses: dict[str, str]
    failover: str
    outcome: str
    failovers: int
    orchestrator_killed_in: str = ""


def report_of(evidence: Evidence) -> Report:
    """The figures that follow from the evidence."""
    failover = evidence.failover
    taken_over = [camera for camera in evidence.victim_cameras if camera in evidence.first_key_frames]
    return Report(
        cameras=len(taken_over),
        cameras_expected=len(evidence.victim_cameras),
        detection_s=_seconds(evidence.killed_at, failover.reason.verdict_at),
        gop_s=evidence.gop_s,
        takeover_s=takeover_seconds(failover.created_at, evidence.victim_cameras, evidence.first_key_frames),
        gap_s=_gap_figures(evidence),
        gaps={camera: len(footage.gaps) for camera, footage in sorted(evidence.footage.items())},
        steps=[
            StepFigures(
                step.name, step.started_at, None if step.ended_at is None else step.ended_at - step.started_at
            )
            for step in failover.steps
        ],
        licenses=LicenseFigures(
            moved=keys_moved(evidence.ledger, failover), double_holders=overlapping_holdings(evidence.ledger)
        ),
        restored=_restored(failover, evidence.homecoming),
        failover_server_clean=evidence.failover_server_clean,
        statuses=evidence.statuses,
        failover=failover.id,
        outcome=str(failover.outcome or ""),
        failovers=len(evidence.failovers),
        orchestrator_killed_in=evidence.orchestrator_killed_in,
    )


def takeover_seconds(
    triggered_at: int, cameras: list[str], first_key_frames: Mapping[str, int]
) -> float | None:
    """From the trigger to the last camera's first key frame; None while a camera has none."""
    if not cameras or any(camera not in first_key_frames for camera in cameras):
        return None
    return (max(first_key_frames[camera] for camera in cameras) - triggered_at) / 1000


def keys_moved(ledger: list[LedgerEntry], failover: Failover) -> int:
    """How many keys went to the failover server for this failover, each counted once."""
    return len(
        {
            entry.key
            for entry in ledger
            if entry.failover == failover.id and entry.target == failover.failover_server
        }
    )


def _gap_figures(evidence: Evidence) -> GapFigures:
    longest = {
        camera: max((gap.seconds for gap in footage.gaps), default=0.0)
        for camera, footage in evidence.footage.items()
    }
    of_victim = [longest[camera] for camera in evidence.victim_cameras if camera in longest]
    return GapFigures(
        max=max(longest.values(), default=0.0), p50=statistics.median(of_victim) if of_victim else 0.0
    )


def _restored(failover: Failover, homecoming: Homecoming) -> RestoredFigures:
    summary = failover.restoration
    # The product's own count does not have the last word: what we saw lying there must be at home.
    return RestoredFigures(
        files=summary.files if summary else 0,
        bytes=summary.bytes if summary else 0,
        verified=summary.verified if summary else 0,
        missing=max(summary.missing if summary else 0, homecoming.missing),
    )


def _seconds(start_ms: int, end_ms: int | None) -> float | None:
    return None if end_ms is None else (end_ms - start_ms) / 1000
