"""kill -9 of the recorder, of the agent, of both, at random moments.

Every file plays, at most the last second of each camera is missing, the index equals the files.

`UNDERSTUDY_TEST_KILLS=50` makes it fifty; `UNDERSTUDY_TEST_SEED` repeats a run whose seed a failure prints.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import time
from pathlib import Path

import av
import pytest
from understudy_contracts.model import CameraState
from understudy_footage import Catalog, FootageRoot
from understudy_footage.check import check, overlaps
from understudy_lab.frames import find_gaps, read_frames

KILLS = int(os.environ.get("UNDERSTUDY_TEST_KILLS", "8"))
SEED = int(os.environ.get("UNDERSTUDY_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
CAMERAS = ["cam-1", "cam-2", "cam-3"]
FPS = 25
LOST_MS = 1000.0
"""At most the last second of each camera."""


def kill(pid: int | None) -> None:
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def recording(beat) -> bool:
    return [camera.state for camera in beat.cameras] == [CameraState.RECORDING] * len(CAMERAS)


def plays(path: Path) -> bool:
    """Whether every frame can be decoded."""
    with av.open(f"file:{path}") as container:
        return sum(1 for _ in container.decode(video=0)) > 0


@pytest.mark.timeout(60 + 15 * KILLS)
async def test_nothing_but_the_last_second_is_lost(site, cameras):
    chance = random.Random(SEED)
    agent = await site.recording_server("north", cameras, CAMERAS)
    kills: list[tuple[str, float]] = []
    print(f"seed {SEED}, {KILLS} kills")
    for number in range(KILLS):
        await site.beat(agent, recording)
        # Any moment: while files are begun, written, finished, and while the last kill is recovered from.
        await asyncio.sleep(chance.uniform(0.0, 2.5))
        what = ("recorder", "agent", "both")[number % 3]
        recorder = agent.recorder
        killed_at = time.time() * 1000
        if what in {"recorder", "both"}:
            kill(recorder)
        if what in {"agent", "both"}:
            await agent.end(signal.SIGKILL)
            before = site.beats.pop(agent.machine)
            await agent.start()
            await site.beat(agent, lambda beat, boot=before.boot: beat.boot != boot)
        kills.append((what, killed_at))
        await site.beat(agent, lambda beat, at=killed_at: recording(beat) and last_frame(beat) > at + 100)

    # The index that the running agent holds is that of the files.
    data = FootageRoot(agent.data_dir)
    kill(agent.recorder)
    at = time.time() * 1000
    await site.beat(agent, lambda beat: recording(beat) and last_frame(beat) > at)
    (agent.data_dir / "recorder.disabled").write_text("the test counts")
    beat = await site.beat(agent, lambda beat: beat.recorder.state == "disabled")
    await settled(site, agent, data)
    await agent.end()
    catalog = Catalog.build(data)
    wrong = [each for each in check(data, catalog, recording=False) if "overlaps" not in each.what]
    assert wrong == [], f"seed {SEED}"
    long_overlaps = [each for each in overlaps(catalog.entries()) if int(each.what.split()[-2]) > 200]
    assert long_overlaps == [], f"seed {SEED}"
    assert not list(agent.data_dir.rglob("*.part")), f"seed {SEED}"

    files = agent.files("recordings")
    unplayable = [path.name for path in files if not await asyncio.to_thread(plays, path)]
    assert unplayable == [], f"seed {SEED}"
    frames = sorted({frame for path in files for frame in read_frames(path)})
    figures = measured(frames, kills)
    print(json.dumps({"seed": SEED, "kills": KILLS, "files": len(files), **figures}))
    assert figures["lost_before_kill_ms_max"] <= LOST_MS, f"seed {SEED}"
    # Nothing is missing but around the kills.
    holes = [gap for gaps in find_gaps(frames, FPS).values() for gap in gaps]
    assert len(holes) <= (KILLS + 1) * len(CAMERAS), f"seed {SEED}"
    assert beat.footage_files <= len(files)


def last_frame(beat) -> int:
    return min(camera.last_frame_at or 0 for camera in beat.cameras)


async def settled(site, agent, data: FootageRoot) -> None:
    """Until the agent's own index has what lies on the disk."""

    def same(beat) -> bool:
        catalog = Catalog.build(data)
        return (beat.footage_files, beat.footage_bytes) == (catalog.files, catalog.bytes)

    await site.beat(agent, same)


def measured(frames, kills) -> dict[str, float]:
    """How much before each kill is missing, and how long after it recording goes on, over all cameras."""
    lost: list[float] = []
    again: dict[str, list[float]] = {"recorder": [], "agent": [], "both": []}
    for what, at in kills:
        for camera in CAMERAS:
            mine = [frame.captured_ms for frame in frames if frame.camera == camera]
            lost.append(at - max(captured for captured in mine if captured <= at))
            again[what].append(min(captured for captured in mine if captured > at + 40) - at)
    return {
        "lost_before_kill_ms_max": round(max(lost), 1),
        "lost_before_kill_ms_median": round(sorted(lost)[len(lost) // 2], 1),
        **{f"continued_ms_max_{what}": round(max(times), 1) for what, times in again.items() if times},
    }
