"""Which promises the outage scenario kept (issue "The house stands", Must show). Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from understudy_contracts.model import Outcome, Role, Status

from understudy_cli.demo.report import Evidence, Report

TAKEOVER_SLACK_S = 1.0
"""What opening the streams may take beyond the wait for a key frame."""
END_SLACK_MS = 1000
"""How much earlier than the moment of stopping a camera's last frame may be: streams take their way."""


class Promise(msgspec.Struct, frozen=True):
    """One promise, whether it held, and the figure that tells."""

    name: str
    held: bool
    figure: str


def promises_kept(evidence: Evidence, report: Report, roles: Mapping[str, Role]) -> list[Promise]:
    """Each promise that this scenario can check; `roles` by server name."""
    return [
        Promise(
            "every camera of the killed server taken over",
            0 < report.cameras_expected == report.cameras,
            f"{report.cameras} of {report.cameras_expected}",
        ),
        _takeover(report),
        Promise("one failover, and it returned", *_one_failover(report)),
        Promise(
            "no license key with two holders",
            report.licenses.double_holders == 0 and report.licenses.moved > 0,
            f"{report.licenses.double_holders} double, {report.licenses.moved} moved",
        ),
        Promise(
            "footage came home whole",
            report.restored.missing == 0
            and report.restored.files > 0
            and report.restored.verified == report.restored.files
            and evidence.homecoming.files > 0,
            f"{report.restored.verified} of {report.restored.files} files verified, "
            f"{evidence.homecoming.found} of {evidence.homecoming.files} found with the same hash, "
            f"{report.restored.missing} missing",
        ),
        Promise(
            "failover server clean",
            report.failover_server_clean,
            "empty" if report.failover_server_clean else "files left",
        ),
        Promise("every server normal or on standby", *_statuses(report, roles)),
        _one_gap(evidence, report),
        _no_gap_elsewhere(evidence, report),
        Promise("every camera recorded to the end", *_recorded_to_the_end(evidence)),
        Promise(
            "every file plays",
            not evidence.unreadable_files and not evidence.unfinished_files,
            _listed("unreadable", evidence.unreadable_files)
            or _listed("unfinished", evidence.unfinished_files)
            or "no error",
        ),
    ]


def _takeover(report: Report) -> Promise:
    bound = report.gop_s + TAKEOVER_SLACK_S
    figure = "not all cameras" if report.takeover_s is None else f"{report.takeover_s:.2f} s"
    if report.orchestrator_killed_in:
        # It waits for the orchestrator to be started again: measured, and bounded by the gap below.
        return Promise(
            "takeover although the orchestrator was killed",
            report.takeover_s is not None,
            f"{figure}, killed while {report.orchestrator_killed_in}",
        )
    held = report.takeover_s is not None and report.takeover_s <= bound
    return Promise(f"takeover within {bound:g} s", held, figure)


def _one_failover(report: Report) -> tuple[bool, str]:
    held = report.failovers == 1 and report.outcome == Outcome.RETURNED
    return held, f"{report.failovers} failover, {report.outcome or 'no outcome'}"


def _statuses(report: Report, roles: Mapping[str, Role]) -> tuple[bool, str]:
    usual = {Role.RECORDING: Status.NORMAL, Role.FAILOVER: Status.STANDBY}
    wrong = [
        f"{name} {report.statuses.get(name, 'unknown')}"
        for name, role in roles.items()
        if report.statuses.get(name) != usual[role]
    ]
    return not wrong, ", ".join(wrong) or f"{len(roles)} servers"


def _one_gap(evidence: Evidence, report: Report) -> Promise:
    name = "one gap per camera of the killed server, no longer than detection, takeover and a key frame"
    if report.detection_s is None or report.takeover_s is None:
        return Promise(name, held=False, figure="no detection or no takeover to measure against")
    bound = report.detection_s + report.takeover_s + report.gop_s
    wrong = []
    for camera in evidence.victim_cameras:
        footage = evidence.footage.get(camera)
        gaps = footage.gaps if footage else []
        if len(gaps) != 1 or gaps[0].seconds > bound:
            wrong.append(f"{camera}: {', '.join(f'{gap.seconds:.2f} s' for gap in gaps) or 'none'}")
    figure = f"longest {report.gap_s.max:.2f} s of {bound:.2f} s"
    return Promise(name, held=not wrong, figure=_listed("", wrong) or figure)


def _no_gap_elsewhere(evidence: Evidence, report: Report) -> Promise:
    others = [camera for camera in evidence.all_cameras if camera not in evidence.victim_cameras]
    # A camera without any footage has no entry: that is no proof of having no gap.
    wrong = [camera for camera in others if report.gaps.get(camera) != 0]
    return Promise(
        "no gap on the other servers", held=not wrong, figure=_listed("", wrong) or f"{len(others)} cameras"
    )


def _recorded_to_the_end(evidence: Evidence) -> tuple[bool, str]:
    wrong = []
    for camera in evidence.all_cameras:
        footage = evidence.footage.get(camera)
        if (
            footage is None
            or footage.last_captured_at < evidence.stopped_at - END_SLACK_MS
            or footage.first_captured_at > evidence.killed_at
        ):
            wrong.append(camera)
    return not wrong, _listed("", wrong) or f"{len(evidence.all_cameras)} cameras"


def _listed(what: str, names: list[str], most: int = 5) -> str:
    if not names:
        return ""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{what} {', '.join(names[:most])}{more}".strip()
