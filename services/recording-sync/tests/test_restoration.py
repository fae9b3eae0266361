"""Restorations over the real bus and MongoDB, with counterparts for the two machines."""

import asyncio
import json
import time

import pytest
from understudy_contracts.commands import FetchFootage, StopFetching
from understudy_contracts.errors import InvalidInput, NotFound, StaleEpoch
from understudy_contracts.machine import RestorationProgress
from understudy_contracts.verbs import (
    HALT_RESTORATION,
    READ_RESTORATION,
    START_RESTORATION,
    HaltRestoration,
    ReadRestoration,
    StartRestoration,
)
from understudy_runtime.grants import verify_grant

HTTP = "http://10.0.0.2:8080"
START = StartRestoration("f-1", 1, 5, "north", "m-2", "m-1")
HALT = HaltRestoration("f-1", 1, 6)
DONE = RestorationProgress("f-1", "done", 4, 4, 1000, 1000, digest="abc")


async def until(condition, within_s=20):
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.02)


async def test_footage_comes_home_under_a_grant_for_its_source(host, scene, orchestrator):
    trust = json.loads((host.authority / "trust.json").read_text())
    await scene.follow()
    target, _ = await scene.machine("m-1"), await scene.machine("m-2", HTTP)
    async with scene.service():
        started = await orchestrator.ask(START_RESTORATION, START)
        assert (started.state, started.source_machine, started.target_machine) == ("running", "m-2", "m-1")
        await until(lambda: target.commands)
        order = target.commands[0]
        assert isinstance(order, FetchFootage)
        assert (order.epoch, order.step, order.failover, order.source) == (1, 5, "f-1", HTTP)
        now = time.time_ns() // 1_000_000
        grant = verify_grant(order.grant, trust["fetch"], purpose="fetch", machine="m-2", now_ms=now)
        assert grant.failover == "f-1"
        target.progress(RestorationProgress("f-1", "running", 4, 1, 1000, 250))
        job = await scene.until_job(orchestrator, lambda job: job.bytes_copied == 250)
        assert (job.state, job.percent) == ("running", 25.0)
        target.progress(DONE)
        job = await scene.until_job(orchestrator, lambda job: job.state == "done")
        assert (job.digest, job.files_verified, job.percent) == ("abc", 4, 100.0)
        assert job.ended_at is not None
        # Asked again it is the same job; halting it comes too late.
        assert await orchestrator.ask(START_RESTORATION, START) == job
        assert await orchestrator.ask(HALT_RESTORATION, HALT) == job
        await until(lambda: scene.events and scene.events[-1][0] == "done")
    assert scene.events[0][0] == "started"
    assert [job.revision for _, job in scene.events] == list(range(1, len(scene.events) + 1))
    assert target.count(FetchFootage) == 1


async def test_a_report_between_heartbeats_is_enough(scene, orchestrator):
    target, _ = await scene.machine("m-1"), await scene.machine("m-2", HTTP)
    async with scene.service():
        await orchestrator.ask(START_RESTORATION, START)
        await until(lambda: target.commands)
        target.beating.clear()
        reporting = target.bus.subjects.report(target.address, "restoration")

        async def report(job):
            # More than once: the answer to the order may come behind the first, and it tells an older state.
            await target.bus.say(reporting, DONE)
            return job.state == "done"

        async with asyncio.timeout(20):
            while not await report(await orchestrator.ask(READ_RESTORATION, ReadRestoration("f-1"))):
                await asyncio.sleep(0.03)


async def test_progress_is_told_at_most_once_a_second(scene, orchestrator):
    await scene.follow()
    target, _ = await scene.machine("m-1"), await scene.machine("m-2", HTTP)
    async with scene.service():
        await orchestrator.ask(START_RESTORATION, START)
        await until(lambda: target.commands)
        began, copied = time.monotonic(), 0
        subject = target.bus.subjects.report(target.address, "restoration")
        while time.monotonic() < began + 2.5 or copied <= 50:
            copied += 1
            target.progress(RestorationProgress("f-1", "running", 1, 0, 100_000, copied))
            await target.bus.say(subject, target.state.restorations[0])
            await asyncio.sleep(0.01)
        target.progress(DONE)
        await until(lambda: scene.events[-1][0] == "done")
        took = time.monotonic() - began
    told = [name for name, _ in scene.events].count("progress")
    assert 2 <= told <= took + 1


async def test_waiting_names_its_reason_and_goes_on_by_itself(scene, orchestrator):
    async with scene.service():
        await orchestrator.ask(START_RESTORATION, START)
        job = await scene.until_job(orchestrator, lambda job: job.state == "waiting")
        assert job.reason == "the recording server m-1 is away"
        target = await scene.machine("m-1")
        await scene.until_job(orchestrator, lambda job: job.reason == "the failover server m-2 is away")
        await scene.machine("m-2", HTTP)
        await until(lambda: target.commands)
        await scene.until_job(orchestrator, lambda job: job.state == "running" and not job.reason)
        target.progress(DONE)
        await scene.until_job(orchestrator, lambda job: job.state == "done")


async def test_a_machine_that_has_forgotten_the_order_gets_it_again(scene, orchestrator):
    target, _ = await scene.machine("m-1"), await scene.machine("m-2", HTTP)
    async with scene.service():
        await orchestrator.ask(START_RESTORATION, START)
        await until(lambda: target.state.restorations)
        target.step = 0
        target.state = type(target.state)("m-1", "site-a", "another boot", 1, 1)
        await until(lambda: target.state.restorations)
        assert target.count(FetchFootage) == 2


async def test_a_service_that_was_restarted_goes_on(scene, orchestrator):
    target, _ = await scene.machine("m-1"), await scene.machine("m-2", HTTP)
    async with scene.service():
        await orchestrator.ask(START_RESTORATION, START)
        await until(lambda: target.commands)
        await scene.until_job(orchestrator, lambda job: job.state == "running")
    target.progress(DONE)
    async with scene.service():
        job = await scene.until_job(orchestrator, lambda job: job.state == "done")
        assert job.digest == "abc"
    assert target.count(FetchFootage) == 1


async def test_two_instances_drive_a_job_once_and_the_second_takes_over(scene, orchestrator):
    target, _ = await scene.machine("m-1"), await scene.machine("m-2", HTTP)
    async with scene.service():
        async with scene.service():
            await orchestrator.ask(START_RESTORATION, START)
            await until(lambda: target.commands)
            await scene.until_job(orchestrator, lambda job: job.state == "running")
        target.progress(DONE)
        await scene.until_job(orchestrator, lambda job: job.state == "done")
    assert target.count(FetchFootage) == 1


async def test_halting_stops_the_machine_and_the_job(scene, orchestrator):
    await scene.follow()
    target, _ = await scene.machine("m-1"), await scene.machine("m-2", HTTP)
    async with scene.service():
        await orchestrator.ask(START_RESTORATION, START)
        await until(lambda: target.state.restorations)
        with pytest.raises(StaleEpoch):
            await orchestrator.ask(HALT_RESTORATION, HaltRestoration("f-1", 1, 4))
        halted = await orchestrator.ask(HALT_RESTORATION, HALT)
        assert halted.state == "stopped"
        assert isinstance(target.commands[-1], StopFetching)
        assert target.commands[-1].step == 6
        assert await orchestrator.ask(HALT_RESTORATION, HALT) == halted
        # What was started before arrives late: it stays stopped.
        assert await orchestrator.ask(START_RESTORATION, START) == halted
        await until(lambda: scene.events[-1][0] == "stopped")


async def test_a_halted_job_ends_though_the_machine_is_away_and_stops_it_when_it_is_back(scene, orchestrator):
    async with scene.service():
        await orchestrator.ask(START_RESTORATION, START)
        assert (await orchestrator.ask(HALT_RESTORATION, HALT)).state == "stopped"
        target = await scene.machine("m-1")
        target.progress(RestorationProgress("f-1", "running", 4, 1))
        await until(lambda: target.count(StopFetching))
        assert target.state.restorations[0].state == "stopped"
        assert target.count(FetchFootage) == 0


async def test_what_makes_no_sense_is_refused_with_its_reason(scene, orchestrator):
    async with scene.service():
        with pytest.raises(InvalidInput, match="not of epoch 2"):
            await orchestrator.ask(START_RESTORATION, StartRestoration("f-1", 2, 1, "north", "m-2", "m-1"))
        with pytest.raises(InvalidInput, match="m-1 to itself"):
            await orchestrator.ask(START_RESTORATION, StartRestoration("f-1", 1, 1, "north", "m-1", "m-1"))
        for verb, request in ((READ_RESTORATION, ReadRestoration("f-1")), (HALT_RESTORATION, HALT)):
            with pytest.raises(NotFound, match="no restoration was started for f-1"):
                await orchestrator.ask(verb, request)
