"""What the outage scenario showed: figures and promises, from evidence spoiled in one thing at a time."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_cli.demo.promises import Promise, promises_kept
from understudy_cli.demo.report import (
    CameraFootage,
    Evidence,
    Homecoming,
    keys_moved,
    report_of,
    takeover_seconds,
)
from understudy_contracts.failovers import Failover, Reason, RestorationSummary, StepRecord
from understudy_contracts.licenses import LedgerEntry
from understudy_contracts.model import Outcome, Phase, Role
from understudy_contracts.settings import FailoverSettings
from understudy_lab.gaps import Gap

KILLED_AT = 1_800_000_000_000
VERDICT_AT = KILLED_AT + 2_100
STOPPED_AT = KILLED_AT + 30_000
CAMERAS = ["cam-1", "cam-2"]
OTHER = "cam-3"
FIRST_KEY_FRAMES = {"cam-1": VERDICT_AT + 500, "cam-2": VERDICT_AT + 920}


def failover() -> Failover:
    return Failover(
        id="f-7",
        epoch=7,
        server="server-1",
        server_name="server-1",
        site="default",
        machine="m-1",
        reason=Reason("disconnected", "no heartbeat", verdict_at=VERDICT_AT),
        automatic=True,
        settings=FailoverSettings(),
        phase=Phase.DONE,
        created_at=VERDICT_AT + 20,
        phase_since=STOPPED_AT,
        failover_server="spare-1",
        steps=[
            StepRecord(1, "move-keys", Phase.LICENSING, VERDICT_AT + 30, VERDICT_AT + 42),
            StepRecord(2, "activate", Phase.ACTIVATING, VERDICT_AT + 50),
        ],
        restoration=RestorationSummary(files=2, bytes=10, verified=2),
        outcome=Outcome.RETURNED,
    )


def gap(seconds: float) -> Gap:
    return Gap(10, 11 + round(seconds * 25), round(seconds * 25), seconds, KILLED_AT, KILLED_AT + 3000)


def ledger_entry(
    position: int, key: str, source: str | None, target: str | None, of: str | None = None
) -> LedgerEntry:
    return LedgerEntry(position, key, KILLED_AT, "moved", source, target, of)


def ledger() -> list[LedgerEntry]:
    return [
        ledger_entry(1, "K-1", None, "server-1"),
        ledger_entry(2, "K-2", None, "server-1"),
        ledger_entry(3, "K-1", "server-1", "spare-1", "f-7"),
        ledger_entry(4, "K-2", "server-1", "spare-1", "f-7"),
        ledger_entry(5, "K-1", "spare-1", "server-1", "f-7"),
        ledger_entry(6, "K-2", "spare-1", "server-1", "f-7"),
    ]


def evidence(**changes: Any) -> Evidence:
    whole: dict[str, Any] = {
        "killed_at": KILLED_AT,
        "stopped_at": STOPPED_AT,
        "gop_s": 1.0,
        "victim_cameras": CAMERAS,
        "all_cameras": [*CAMERAS, OTHER],
        "failovers": [failover()],
        "first_key_frames": FIRST_KEY_FRAMES,
        "footage": {
            "cam-1": CameraFootage([gap(3.0)], KILLED_AT - 9000, STOPPED_AT - 40),
            "cam-2": CameraFootage([gap(3.2)], KILLED_AT - 9000, STOPPED_AT - 40),
            "cam-3": CameraFootage([], KILLED_AT - 9000, STOPPED_AT - 40),
        },
        "ledger": ledger(),
        "homecoming": Homecoming(files=2, found=2),
        "failover_server_clean": True,
        "statuses": {"server-1": "normal", "server-2": "normal", "spare-1": "standby"},
        "unreadable_files": [],
        "unfinished_files": [],
    }
    return Evidence(**{**whole, **changes})


def changed_failover(**changes: Any) -> list[Any]:
    return [msgspec.structs.replace(failover(), **changes)]


def test_figures_follow_from_the_evidence() -> None:
    report = report_of(evidence())
    assert report.cameras == report.cameras_expected == 2
    assert report.detection_s == pytest.approx(2.1)
    assert report.takeover_s == pytest.approx(0.9)
    assert report.gap_s.max == pytest.approx(3.2)
    assert report.gap_s.p50 == pytest.approx(3.1)
    assert report.gaps == {"cam-1": 1, "cam-2": 1, "cam-3": 0}
    assert [(step.name, step.duration_ms) for step in report.steps] == [("move-keys", 12), ("activate", None)]
    assert (report.licenses.moved, report.licenses.double_holders) == (2, 0)
    assert report.restored.missing == 0
    assert report.restored.files == report.restored.verified == 2
    assert report.failover == "f-7"


def test_a_camera_without_key_frame_is_not_taken_over() -> None:
    report = report_of(evidence(first_key_frames={"cam-1": FIRST_KEY_FRAMES["cam-1"]}))
    assert report.cameras == 1
    assert report.takeover_s is None


def test_the_oldest_failover_is_the_one_that_is_measured() -> None:
    later = changed_failover(epoch=8, id="f-8")
    report = report_of(evidence(failovers=[*later, failover()]))
    assert report.failover == "f-7"
    assert report.failovers == 2


def test_a_file_that_is_not_at_home_is_missing_whatever_the_product_says() -> None:
    assert report_of(evidence(homecoming=Homecoming(files=2, found=1))).restored.missing == 1


def test_what_the_product_misses_is_missing_whatever_we_found() -> None:
    summary = RestorationSummary(files=2, bytes=10, verified=1, missing=1)
    report = report_of(evidence(failovers=changed_failover(restoration=summary)))
    assert report.restored.missing == 1


def test_two_holders_are_counted() -> None:
    ledger = [
        ledger_entry(1, "K-1", None, "server-1"),
        ledger_entry(2, "K-1", "server-1", "spare-1", "f-7"),
        ledger_entry(3, "K-1", "server-1", "spare-2", "f-7"),
    ]
    assert report_of(evidence(ledger=ledger)).licenses.double_holders == 1


keys = st.sampled_from(["K-1", "K-2", "K-3"])


@given(st.lists(keys, max_size=20), st.randoms(use_true_random=False))
def test_keys_are_counted_once_in_any_order(moved: list[str], chance: random.Random) -> None:
    entries: list[LedgerEntry] = []
    for key in moved:  # moved, given back, moved again: redelivery and retries
        entries.append(ledger_entry(len(entries), key, "server-1", "spare-1", "f-7"))
        entries.append(ledger_entry(len(entries), key, "spare-1", "server-1", "f-7"))
    entries.append(ledger_entry(len(entries), "K-9", "server-2", "spare-1", "f-6"))
    chance.shuffle(entries)
    assert keys_moved(entries, failover()) == len(set(moved))


@given(st.dictionaries(st.sampled_from(CAMERAS), st.integers(1_000_000, 2_000_000), min_size=1))
def test_the_last_camera_decides(first_key_frames: dict[str, int]) -> None:
    cameras = list(first_key_frames)
    seconds = takeover_seconds(1_000_000, cameras, first_key_frames)
    assert seconds == (max(first_key_frames.values()) - 1_000_000) / 1000
    assert takeover_seconds(1_000_000, [*cameras, "cam-99"], first_key_frames) is None


@given(st.lists(st.lists(st.floats(0.04, 60), max_size=4), min_size=2, max_size=2))
def test_the_longest_hole_of_any_camera_is_the_maximum(holes: list[list[float]]) -> None:
    footage = {
        camera: CameraFootage([gap(seconds) for seconds in of_camera], 0, 1)
        for camera, of_camera in zip(["cam-1", "cam-2"], holes, strict=True)
    }
    figures = report_of(replace(evidence(), footage=footage)).gap_s
    assert figures.max == max((seconds for of_camera in holes for seconds in of_camera), default=0.0)
    assert 0 <= figures.p50 <= figures.max


ROLES = {"server-1": Role.RECORDING, "server-2": Role.RECORDING, "spare-1": Role.FAILOVER}


def judged(**changes: Any) -> list[Promise]:
    seen = evidence(**changes)
    return promises_kept(seen, report_of(seen), ROLES)


def broken(**changes: Any) -> list[str]:
    return [promise.name for promise in judged(**changes) if not promise.held]


def changed_footage(camera: str, **changes: Any) -> dict[str, CameraFootage]:
    footage = dict(evidence().footage)
    return {**footage, camera: replace(footage[camera], **changes)}


def test_all_hold_when_all_went_well() -> None:
    assert broken() == []


TOO_LATE = {**FIRST_KEY_FRAMES, "cam-2": VERDICT_AT + 20 + 2_001}


@pytest.mark.parametrize(
    ("changes", "about"),
    [
        ({"first_key_frames": {"cam-1": FIRST_KEY_FRAMES["cam-1"]}}, "every camera"),
        ({"victim_cameras": []}, "every camera"),
        ({"first_key_frames": TOO_LATE}, "takeover within 2 s"),
        ({"failovers": changed_failover(outcome=Outcome.ABANDONED)}, "one failover"),
        ({"failovers": [failover(), *changed_failover(epoch=8, id="f-8")]}, "one failover"),
        (
            {
                "ledger": [
                    *evidence().ledger,
                    ledger_entry(7, "K-1", "server-1", "spare-1"),
                    ledger_entry(8, "K-1", "server-1", "spare-2"),
                ]
            },
            "no license key",
        ),
        ({"ledger": []}, "no license key"),
        ({"homecoming": Homecoming(2, 1)}, "footage came home"),
        ({"homecoming": Homecoming(0, 0)}, "footage came home"),
        ({"failovers": changed_failover(restoration=None)}, "footage came home"),
        ({"failovers": changed_failover(restoration=RestorationSummary(2, 9, 1))}, "footage came home"),
        ({"failover_server_clean": False}, "failover server clean"),
        (
            {"statuses": {"server-1": "normal", "server-2": "failed-over", "spare-1": "standby"}},
            "every server",
        ),
        ({"statuses": {"server-1": "normal", "server-2": "normal"}}, "every server"),
        ({"footage": changed_footage("cam-1", gaps=[])}, "one gap"),
        ({"footage": changed_footage("cam-1", gaps=[gap(1.0), gap(0.04)])}, "one gap"),
        ({"footage": changed_footage("cam-1", gaps=[gap(4.04)])}, "one gap"),
        (
            {
                "failovers": changed_failover(
                    reason=msgspec.structs.replace(failover().reason, verdict_at=None)
                )
            },
            "one gap",
        ),
        ({"footage": changed_footage("cam-3", gaps=[gap(0.04)])}, "no gap on the other"),
        ({"footage": {k: v for k, v in evidence().footage.items() if k != "cam-3"}}, "no gap on the other"),
        ({"footage": changed_footage("cam-1", last_captured_at=STOPPED_AT - 1001)}, "every camera recorded"),
        ({"footage": changed_footage("cam-1", first_captured_at=KILLED_AT + 1)}, "every camera recorded"),
        ({"unreadable_files": ["server-1/a.mp4 (moov)"]}, "every file plays"),
        ({"unfinished_files": ["server-1/a.mp4.part"]}, "every file plays"),
    ],
)
def test_one_thing_wrong_breaks_its_promise(changes: dict[str, Any], about: str) -> None:
    assert any(name.startswith(about) for name in broken(**changes))


def test_a_killed_orchestrator_delays_the_takeover_and_nothing_else() -> None:
    late = {"first_key_frames": TOO_LATE, "orchestrator_killed_in": "activating"}
    assert broken(**late) == []
    assert broken(**{**late, "first_key_frames": {}}) != []


def test_many_wrong_names_stay_one_line() -> None:
    promise = judged(unreadable_files=[f"file-{number}" for number in range(40)])[-1]
    assert promise.figure == "unreadable file-0, file-1, file-2, file-3, file-4 and 35 more"
