"""Running, disabled, not installed, crashing, incompatible: each from what really happens."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from understudy_contracts.machine import Heartbeat
from understudy_contracts.model import CameraState, RecorderState
from understudy_recording_server.supervising.health import (
    CRASHES,
    WITHIN_S,
    Refusal,
    recorder_state,
    refusal_of,
)
from understudy_recording_server.supervising.supervisor import RecorderSupervisor
from understudy_recording_server.supervising.switch import SWITCH_FILE, RecorderSwitch
from understudy_runtime.clock import SystemClock

WITHIN = 20


@asynccontextmanager
async def supervised(supervisor: RecorderSupervisor) -> AsyncIterator[RecorderSupervisor]:
    task = asyncio.create_task(supervisor.run())
    try:
        yield supervisor
    finally:
        task.cancel()
        await asyncio.wait({task})


def recording(beat: Heartbeat) -> bool:
    return [camera.state for camera in beat.cameras] == [CameraState.RECORDING]


def switched_off(beat: Heartbeat) -> bool:
    return [camera.state for camera in beat.cameras] == [CameraState.DISABLED]


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN):
        while not true():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("ages", "expected"),
    [
        ([], RecorderState.RUNNING),
        ([1.0] * (CRASHES - 1), RecorderState.RUNNING),
        ([1.0] * CRASHES, RecorderState.CRASHING),
        ([1.0] * (CRASHES - 1) + [WITHIN_S], RecorderState.RUNNING),
    ],
)
def test_a_few_crashes_within_half_a_minute_are_a_loop(ages, expected):
    assert recorder_state([100.0 - age for age in ages], 100.0) is expected


def test_what_people_switched_off_comes_first():
    crashes = [99.0] * CRASHES
    missing = Refusal(RecorderState.NOT_INSTALLED, "no")
    assert recorder_state(crashes, 100.0, refusal=missing) is RecorderState.NOT_INSTALLED
    assert recorder_state(crashes, 100.0, disabled="off", refusal=missing) is RecorderState.DISABLED
    assert recorder_state([], 100.0, disabled="off", hangs=True) is RecorderState.DISABLED
    assert recorder_state([], 100.0, hangs=True) is RecorderState.CRASHING
    assert refusal_of(-9, "words") is None
    assert refusal_of(None, "words") is None
    assert refusal_of(78, "words") == Refusal(RecorderState.INCOMPATIBLE, "words")


async def test_a_library_that_is_missing_is_no_crash(tmp_path, monkeypatch):
    broken = tmp_path / "broken/av"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ModuleNotFoundError('No module named av')\n")
    monkeypatch.setenv("PYTHONPATH", str(broken.parent))
    supervisor = RecorderSupervisor(tmp_path / "data", SystemClock(), lambda: None)
    async with supervised(supervisor):
        await until(lambda: supervisor.state().state is RecorderState.NOT_INSTALLED)
        state = supervisor.state()
        assert state.reason == "the recorder is not installed: No module named av"
        assert state.restarts == 0
        # Installed meanwhile: found without anybody's help.
        monkeypatch.delenv("PYTHONPATH")
        await until(lambda: supervisor.state().state is RecorderState.RUNNING)
        assert supervisor.state().reason == ""


async def test_a_recorder_of_another_version_is_incompatible(tmp_path):
    supervisor = RecorderSupervisor(tmp_path / "data", SystemClock(), lambda: None, protocol="another")
    async with supervised(supervisor):
        await until(lambda: supervisor.state().state is RecorderState.INCOMPATIBLE)
        assert "restart the agent" in supervisor.state().reason


async def test_a_recorder_that_hangs_is_told_and_replaced(site, cameras):
    agent = await site.recording_server("north", cameras, ["cam-1"])
    await site.beat(agent, recording)
    hung = agent.recorder
    os.kill(hung, signal.SIGSTOP)
    beat = await site.beat(agent, lambda beat: beat.recorder.state is RecorderState.CRASHING)
    assert beat.recorder.reason == "the recorder hangs"
    beat = await site.beat(agent, lambda beat: beat.recorder.restarts == 1 and recording(beat))
    assert beat.recorder.state is RecorderState.RUNNING
    assert agent.recorder != hung


async def test_a_recorder_that_hung_for_a_moment_goes_on(site, cameras):
    agent = await site.recording_server("north", cameras, ["cam-1"])
    await site.beat(agent, recording)
    hung = agent.recorder
    os.kill(hung, signal.SIGSTOP)
    await site.beat(agent, lambda beat: beat.recorder.state is RecorderState.CRASHING)
    os.kill(hung, signal.SIGCONT)
    beat = await site.beat(agent, lambda beat: beat.recorder.state is RecorderState.RUNNING)
    assert beat.recorder.restarts == 0
    assert agent.recorder == hung


async def test_a_switch_that_was_turned_meanwhile_is_not_waited_for(tmp_path):
    switch = RecorderSwitch(tmp_path, lambda: None)
    file = tmp_path / SWITCH_FILE
    file.touch()
    switch.read()  # Before anybody waits.
    async with asyncio.timeout(WITHIN):
        await switch.turned_from(off=False)
        file.unlink()
        switch.read()
        await switch.turned_from(off=True)


async def test_a_recorder_can_be_switched_off_on_the_machine(site, cameras, wait_for):
    agent = await site.recording_server("north", cameras, ["cam-1"])
    await site.beat(agent, recording)
    switch = agent.data_dir / "recorder.disabled"
    switch.write_text("the lens is being cleaned\n")
    beat = await site.beat(agent, lambda beat: beat.recorder.state is RecorderState.DISABLED)
    assert beat.recorder.reason == "switched off on the machine: the lens is being cleaned"
    beat = await site.beat(agent, switched_off)
    assert "lens" in beat.cameras[0].reason
    assert not agent.files("recordings", "**/*.part")
    # It stays off over a restart of the agent.
    await agent.end(signal.SIGKILL)
    boot = beat.boot
    await agent.start()
    beat = await site.beat(agent, lambda beat: beat.boot != boot)
    assert beat.recorder.state is RecorderState.DISABLED
    switch.unlink()
    beat = await site.beat(agent, recording)
    assert beat.recorder.state is RecorderState.RUNNING
    assert beat.recorder.restarts == 0
