"""The main job end to end, as a person starts it: `understudy demo`, real processes, streams and files."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nats
import nats.errors
import pytest
from nats.aio.msg import Msg
from understudy_contracts.model import Phase

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SERVERS, SPARES, CAMERAS = 3, 2, 4
PHASES = [
    Phase.LICENSING,
    Phase.ACTIVATING,
    Phase.ACTIVE,
    Phase.HANDING_BACK,
    Phase.RESTORING,
    Phase.CLEARING,
    Phase.DONE,
]


def command_of(folder: Path, *options: str) -> list[str]:
    files = ["--data-dir", str(folder / "data"), "--report", str(folder / "report.json")]
    listen = ["--listen", "127.0.0.1:0"]  # somebody's own console may be on the usual port
    return [
        sys.executable,
        "-m",
        "understudy_cli",
        "demo",
        "--scenario",
        "outage",
        "--exit",
        *files,
        *listen,
        *options,
    ]


def environment_of(folder: Path) -> dict[str, str]:
    """As for somebody who has just come: an empty home, and no settings of ours."""
    own = {key: value for key, value in os.environ.items() if not key.startswith(("UNDERSTUDY_", "XDG_"))}
    return {**own, "HOME": str(folder)}


def processes_of(folder: Path) -> list[str]:
    """What still runs that was started for this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                arguments = (entry / "cmdline").read_bytes()
                belongs = str(folder).encode() in arguments + (entry / "environ").read_bytes()
            except OSError:
                continue
            if belongs and arguments:  # a zombie has none
                found.append(arguments.replace(b"\0", b" ").decode(errors="replace"))
    return found


@dataclass(frozen=True)
class Run:
    folder: Path
    status: int
    output: str
    errors: str
    seconds: float

    @property
    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "report.json").read_bytes())
        return found


@pytest.fixture(scope="module")
def outage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("demo")
    sizes = ["--servers", str(SERVERS), "--spares", str(SPARES), "--cameras", str(CAMERAS)]
    begun = time.monotonic()
    finished = subprocess.run(
        command_of(folder, *sizes),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env=environment_of(folder),
    )
    yield Run(folder, finished.returncode, finished.stdout, finished.stderr, time.monotonic() - begun)
    assert processes_of(folder) == []


def test_every_promise_holds_and_it_is_over_in_time(outage: Run) -> None:
    assert outage.status == 0, outage.output + outage.errors
    assert outage.errors == ""
    assert "✗" not in outage.output
    assert outage.output.count("✓") >= 10
    assert outage.seconds < 120
    assert processes_of(outage.folder) == []


def test_the_report_says_what_the_mission_asks_for(outage: Run) -> None:
    report = outage.report
    assert report["cameras"] == CAMERAS
    assert report["gop_s"] == 1.0
    assert 0 < report["takeover_s"] <= report["gop_s"] + 1
    assert 0 < report["detection_s"] < 10
    assert report["licenses"] == {"moved": CAMERAS, "double_holders": 0}
    assert report["restored"]["missing"] == 0
    assert report["restored"]["files"] == report["restored"]["verified"] >= CAMERAS
    assert report["restored"]["bytes"] > 0
    assert report["failover_server_clean"] is True
    recording = {f"server-{number}": "normal" for number in range(1, SERVERS + 1)}
    spares = {f"spare-{number}": "standby" for number in range(1, SPARES + 1)}
    assert report["statuses"] == recording | spares
    assert all(step["name"] and step["started_at"] and step["duration_ms"] >= 0 for step in report["steps"])


def test_one_gap_per_camera_of_the_killed_server_and_none_elsewhere(outage: Run) -> None:
    report = outage.report
    victims = {f"cam-{number}" for number in range(1, CAMERAS + 1)}
    others = {f"cam-{number}" for number in range(CAMERAS + 1, SERVERS * CAMERAS + 1)}
    assert report["gaps"] == dict.fromkeys(victims, 1) | dict.fromkeys(others, 0)
    assert report["gap_s"]["max"] <= report["detection_s"] + report["takeover_s"] + report["gop_s"]
    assert 0 < report["gap_s"]["p50"] <= report["gap_s"]["max"]


def test_any_player_reads_every_file(outage: Run, require_tool: Callable[[str, str], str]) -> None:
    require_tool("ffprobe", "ffmpeg")
    videos = sorted((outage.folder / "data").rglob("*.mp4"))
    assert len(videos) >= SERVERS * CAMERAS + 2 * CAMERAS  # one before, one brought home, one after
    for video in videos:
        probed = subprocess.run(
            [
                *("ffprobe", "-v", "error", "-count_packets", "-select_streams", "v:0"),
                *("-show_entries", "stream=codec_name,nb_read_packets", "-of", "json", str(video)),
            ],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert (probed.returncode, probed.stderr) == (0, ""), video
        stream = json.loads(probed.stdout)["streams"][0]
        assert stream["codec_name"] == "h264"
        assert int(stream["nb_read_packets"]) > 0
    assert list((outage.folder / "data").rglob("*.part")) == []


async def test_a_killed_orchestrator_goes_on_and_the_events_read_well(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *command_of(tmp_path, "--servers", "2", "--spares", "1", "--cameras", "2", "--kill-orchestrator"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment_of(tmp_path),
    )
    heard: list[tuple[str, dict[str, Any]]] = []
    try:
        listening = asyncio.create_task(_listen(tmp_path / "data", heard))
        output, _ = await asyncio.wait_for(process.communicate(), 240)
        listening.cancel()
        await asyncio.wait([listening])
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, output.decode()
    report = json.loads((tmp_path / "report.json").read_bytes())
    assert report["orchestrator_killed_in"] in {Phase.LICENSING, Phase.ACTIVATING}
    assert report["cameras"] == 2
    assert report["outcome"] == "returned"
    assert report["failovers"] == 1
    assert report["restored"]["missing"] == 0
    assert report["licenses"]["double_holders"] == 0
    assert "orchestrator was ended by SIGKILL" in output.decode()
    assert processes_of(tmp_path) == []

    subjects = [subject for subject, _ in heard]
    assert subjects == [f"understudy.evt.{e['kind']}.{e['subject']}.{e['event']}" for _, e in heard]
    of_failover = [
        body for _, body in heard if (body["kind"], body["subject"]) == ("failover", report["failover"])
    ]
    entered = [body["event"] for body in of_failover if body["event"] in PHASES]
    assert list(dict.fromkeys(entered)) == PHASES
    assert of_failover[-1]["data"]["failover"]["phase"] == Phase.DONE
    # The stream keeps each event once; who listens beside it may hear one twice when its relay was killed.
    sequences = list(dict.fromkeys(body["sequence"] for body in of_failover))
    assert sequences == list(range(1, len(sequences) + 1))


async def _listen(data: Path, heard: list[tuple[str, dict[str, Any]]]) -> None:
    """As `nats sub 'understudy.evt.>'` with the observer's credentials."""

    async def received(message: Msg) -> None:
        heard.append((message.subject, json.loads(message.data)))

    async def at_the_end(_: Exception) -> None:
        """The server ends before we do; the client would log that as an error."""

    credentials = data / "authority" / "observer.creds"
    while True:
        try:
            listen = re.search(
                r'^listen: "(.+)"$', (data / "nats" / "nats-server.conf").read_text(), re.MULTILINE
            )
            if listen is None:  # It is being written.
                raise FileNotFoundError
            client = await nats.connect(
                f"nats://{listen[1]}",
                user_credentials=str(credentials),
                inbox_prefix="_INBOX.observer",
                error_cb=at_the_end,
            )
            break
        except (OSError, nats.errors.Error):
            await asyncio.sleep(0.05)
    try:
        await client.subscribe("understudy.evt.>", cb=received)
        await asyncio.Event().wait()
    finally:
        await client.close()
