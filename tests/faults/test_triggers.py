"""Every trigger on the real thing: the fault on a real machine, and the failover that it starts (M5)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from understudy_cli.demo.files import is_clean
from understudy_cli.processes import running_processes, tree_of
from understudy_contracts.model import CameraState, Phase
from understudy_contracts.settings import FailoverSettings, StorageTrigger, TriggerSettings
from understudy_lab.cameras import ClipSettings
from understudy_lab.disks import SmallDisk, small_ext4, small_tmpfs
from understudy_lab.faults import CannotInject

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]

SETTINGS = FailoverSettings(
    # Longer than a busy machine lets a process wait, be it an agent, a recorder or the cameras: what stands
    # still so long is lost, rightly. What a disk is like is told, and is no matter of waiting.
    disconnection=TriggerSettings(after_s=5.0),
    storage=StorageTrigger(after_s=2.0),
    recorder=TriggerSettings(after_s=4.0),
    stop_automatically=True,
    settling_s=1.0,
)
SMALL = ClipSettings(width=320, height=180, bitrate_kbit=300, gop_s=0.4, length_s=2.0)


@dataclass
class Broken:
    """A house, and the disks of those machines that have their own; where one cannot be had here: why."""

    house: Any
    disks: dict[str, SmallDisk | Path | CannotInject]

    def data(self, server: str) -> Path:
        return self.house.site.data_dir(server)

    def recorder(self, server: str) -> int | None:
        """The pid of the recorder of a server."""
        for seen in tree_of(self.house.processes.pid(server), running_processes()):
            with contextlib.suppress(OSError):
                if b"understudy_recording_server.recorder" in Path(f"/proc/{seen.pid}/cmdline").read_bytes():
                    return seen.pid
        return None


Injection = Callable[[Broken, str], contextlib.AbstractAsyncContextManager[None]]


@contextlib.asynccontextmanager
async def killed(broken: Broken, server: str) -> AsyncIterator[None]:
    await broken.house.processes.kill(server, restart=False)
    yield
    await broken.house.processes.start_again(server)


@contextlib.asynccontextmanager
async def switched_off(broken: Broken, server: str) -> AsyncIterator[None]:
    switch = broken.data(server) / "recorder.disabled"
    switch.write_text("the disks are being counted")
    yield
    switch.unlink()


@contextlib.asynccontextmanager
async def repeatedly(work: Callable[[], None]) -> AsyncIterator[None]:
    async def again_and_again() -> None:
        while True:
            work()
            await asyncio.sleep(0.05)

    working = asyncio.create_task(again_and_again())
    yield
    working.cancel()
    await asyncio.wait({working})


@contextlib.asynccontextmanager
async def crashing(broken: Broken, server: str) -> AsyncIterator[None]:
    def kill() -> None:
        pid = broken.recorder(server)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async with repeatedly(kill):
        yield


@contextlib.asynccontextmanager
async def filled(broken: Broken, server: str) -> AsyncIterator[None]:
    """By somebody else, who also takes what is freed."""
    path = broken.data(server) / "somebody-elses"

    def fill() -> None:
        with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
            while file.write(bytes(64 << 10)):
                pass

    async with repeatedly(fill):
        yield
    path.unlink()


@contextlib.asynccontextmanager
async def torn(broken: Broken, server: str) -> AsyncIterator[None]:
    """Until it is mounted again, which nobody does here."""
    disk = broken.disks[server]
    assert isinstance(disk, SmallDisk)
    disk.tear()
    yield


@contextlib.asynccontextmanager
async def hanging(broken: Broken, server: str) -> AsyncIterator[None]:
    disk = broken.disks[server]
    assert isinstance(disk, SmallDisk)
    disk.hang()
    try:
        yield
    finally:
        disk.go_on()


@dataclass(frozen=True)
class Fault:
    """What is done to a server, and the reason of the failover that it starts."""

    server: str
    inject: Injection
    code: str
    words: str
    # What the disk of its own is mounted on, within the data folder, and how it is made.
    disk: str | None = None
    kind: str = "ext4"


SWITCHED_OFF = Fault("server-2", switched_off, "recorder-disabled", "the disks are being counted")
FAULTS = {
    "killed": Fault("server-1", killed, "disconnected", "connection lost"),
    "recorder crashing": Fault("server-3", crashing, "recorder-crashing", "ended with status -9"),
    "disk full": Fault("server-4", filled, "storage-damaged", "full", "", "tmpfs"),
    "camera's disk hangs": Fault("server-5", hanging, "not-recording", "does not grow", "recordings/cam-9"),
    "disk read-only": Fault("server-6", torn, "storage-damaged", "read-only", ""),
    "camera's disk read-only": Fault(
        "server-7", torn, "not-recording", "footage of cam-13 does not grow", "recordings/cam-13"
    ),
}
SERVERS = 7
SPARES = 4


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def broken(tmp_path_factory, build_house, plan_house) -> AsyncIterator[Broken]:
    folder = tmp_path_factory.mktemp("triggers")
    disks: dict[str, SmallDisk | Path | CannotInject] = {}
    with contextlib.ExitStack() as stack:
        for fault in FAULTS.values():
            if fault.disk is not None:
                place = folder / "machines" / fault.server / fault.disk
                made = (
                    small_tmpfs(place, "64m")
                    if fault.kind == "tmpfs"
                    else small_ext4(place, folder / f"{fault.server}.img", 64)
                )
                try:
                    disks[fault.server] = stack.enter_context(made)
                except CannotInject as error:
                    disks[fault.server] = error
        plan = plan_house(SERVERS, SPARES, settings=SETTINGS, clip=SMALL)
        async with build_house(folder, plan) as house:
            yield Broken(house, disks)


async def all_ids(house) -> set[str]:
    return {each["id"] for each in await house.site.api.items("/failovers")}


async def failed_over(broken: Broken, fault: Fault) -> str:
    """The failover that the fault starts, when its failover server records every camera."""
    house = broken.house
    failover = await house.begun(fault.server)
    found = await house.failover(failover)
    assert found["automatic"]
    assert (found["reason"]["code"], fault.words in found["reason"]["text"]) == (fault.code, True), found
    await house.reaches(failover, Phase.ACTIVE)
    found = await house.failover(failover)
    assert [camera["state"] for camera in found["cameras"]] == [CameraState.RECORDING] * 2
    assert all(camera["first_key_frame_at"] for camera in found["cameras"])
    await house.status_is(fault.server, "failed-over", active=2)
    footage = broken.data(found["failover_server"]) / "failovers" / failover / "recordings"
    recorded = {path.parts[len(footage.parts)] for path in footage.rglob("*.*") if path.stat().st_size}
    assert recorded == {camera["camera"] for camera in found["cameras"]}
    return failover


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_starts_a_failover_of_its_server_alone(broken, name, cannot):
    fault = FAULTS[name]
    disk = broken.disks.get(fault.server)
    if isinstance(disk, CannotInject):
        cannot(disk.message)
    before = await all_ids(broken.house)
    await broken.house.status_is(fault.server, "normal", active=2)
    async with fault.inject(broken, fault.server):
        failover = await failed_over(broken, fault)
    assert await all_ids(broken.house) - before == {failover}


async def test_a_trigger_that_is_off_starts_nothing_and_a_reason_that_clears_ends_the_failover(broken):
    house, off, on = broken.house, "server-1", SWITCHED_OFF.server
    for server in (off, on):
        await house.status_is(server, "normal", active=2)
    quiet = msgspec.structs.replace(SETTINGS, recorder=TriggerSettings(enabled=False, after_s=1.0))
    await house.site.api.put(f"/servers/{off}/failover-settings", quiet)
    before = await all_ids(house)
    # This one is switched off first, and its set time is shorter: it would have been first to fail over.
    async with switched_off(broken, off):
        await house.status_is(off, "others", active=0)
        async with switched_off(broken, on):
            failover = await failed_over(broken, SWITCHED_OFF)
        assert "the disks are being counted (its trigger is off)" in (await house.shown(off))["reason"]
        await house.reaches(failover, Phase.DONE)
    found = await house.failover(failover)
    assert found["outcome"] == "returned"
    assert found["restoration"]["files"] == found["restoration"]["verified"] > 0
    assert is_clean(broken.data(found["failover_server"]))
    for server in (on, off):
        await house.status_is(server, "normal", active=2)
    assert await all_ids(house) - before == {failover}
    await house.site.api.delete(f"/servers/{off}/failover-settings")
