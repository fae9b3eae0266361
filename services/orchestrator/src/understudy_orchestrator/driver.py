"""Drives failovers to their end: snapshot, plan, record, act, record, again. One instance per failover at a
time (a lease); a second one that thinks it still drives is stopped by the revision and by the step number."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import structlog
from understudy_contracts.errors import Conflict, UnderstudyError
from understudy_contracts.failovers import Failover, Reason
from understudy_contracts.model import Phase
from understudy_runtime.clock import Clock
from understudy_runtime.retry import pauses
from understudy_runtime.telemetry import span
from understudy_runtime.waiting import go_on, wait_at_most
from understudy_store.collections import servers
from understudy_store.database import Database
from understudy_store.leases import Lease

from understudy_orchestrator.failovers import Failovers
from understudy_orchestrator.moves import Assign, Enter, Move, Step, Succeed, Update, Wait
from understudy_orchestrator.plan import next_move
from understudy_orchestrator.selection import select
from understudy_orchestrator.step_records import begin_step, end_step
from understudy_orchestrator.steps import Steps
from understudy_orchestrator.surroundings import Surroundings

LOOK_AGAIN_S = 0.5
# Camera states and percentages are written at most this often; phases and steps at once.
UPDATE_EVERY_S = 0.25

log = structlog.get_logger()


class Driver:
    """Drives every unfinished failover that no other instance drives."""

    def __init__(
        self,
        database: Database,
        failovers: Failovers,
        surroundings: Surroundings,
        steps: Steps,
        clock: Clock,
        instance: str,
    ) -> None:
        self._database = database
        self._failovers = failovers
        self._surroundings = surroundings
        self._steps = steps
        self._clock = clock
        self._instance = instance
        self._driving: dict[str, asyncio.Task[None]] = {}
        self._woken: dict[str, asyncio.Event] = {}
        self._machines: dict[str, set[str | None]] = {}

    def wake(self, failover: str | None = None) -> None:
        """Something changed that `failover`, or any, may wait for."""
        for name, event in self._woken.items():
            if failover in {None, name}:
                event.set()

    def machine_spoke(self, machine: str) -> None:
        """Wake the failovers that this machine is part of."""
        for name, machines in self._machines.items():
            if machine in machines:
                self._woken[name].set()

    async def run(self) -> None:
        """Look for failovers to drive, until cancelled."""
        try:
            while go_on():
                try:
                    for failover in await self._failovers.unfinished():
                        self.take_up(failover.id)
                except UnderstudyError as error:
                    log.warning("cannot look for failovers", error=str(error))
                await asyncio.sleep(LOOK_AGAIN_S)
        finally:
            tasks = list(self._driving.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def take_up(self, failover: str) -> None:
        """Drive this failover from now on, if this instance does not yet."""
        if failover in self._driving:
            return
        self._woken[failover] = asyncio.Event()
        task = asyncio.create_task(self._drive(failover), name=f"drive {failover}")
        self._driving[failover] = task
        task.add_done_callback(lambda _: self._drop(failover))

    def _drop(self, failover: str) -> None:
        task = self._driving.pop(failover)
        self._woken.pop(failover)
        self._machines.pop(failover, None)
        if not task.cancelled() and task.exception() is not None:
            log.error("driving broke off; it is taken up again", failover=failover, exc_info=task.exception())

    async def _drive(self, name: str) -> None:
        structlog.contextvars.bind_contextvars(failover=name)
        lease = Lease(self._database, f"failover-{name}", self._instance)
        again = _Pauses()
        held_until = 0.0
        try:
            while go_on():
                try:
                    now = self._clock.monotonic()
                    if now > held_until - lease.ttl_s * 2 / 3:
                        held_until = now + lease.ttl_s if await lease.acquire() else 0.0
                    if self._clock.monotonic() >= held_until:
                        await asyncio.sleep(lease.ttl_s / 3)
                        continue
                    if await self._one_move(name, again):
                        return
                except Conflict as error:
                    # Another writer was first: read again, at once the first time.
                    log.info("read again", why=error.message)
                    await asyncio.sleep(next(again))
                except UnderstudyError as error:
                    log.warning("driving pauses", error=str(error))
                    await asyncio.sleep(next(again))
        finally:
            with contextlib.suppress(UnderstudyError, TimeoutError):
                async with asyncio.timeout(1):
                    await lease.release()

    async def _one_move(self, name: str, again: _Pauses) -> bool:
        """Make one move. Returns whether the failover is done."""
        woken = self._woken[name]
        woken.clear()
        failover = await self._failovers.get(name)
        if failover.phase is Phase.DONE:
            return True
        structlog.contextvars.bind_contextvars(server=failover.server)
        world = await self._surroundings.world(failover)
        self._machines[name] = {world.original_machine, failover.failover_machine}
        move = next_move(failover, world)
        if not isinstance(move, Wait):
            log.debug("move", move=repr(move)[:200])
        match move:
            case Step():
                if await self._take_step(failover, move):
                    again.reset()
                else:
                    await wait_at_most(woken, next(again))
                return False
            case Wait():
                await self._note_waiting(failover, move)
                await wait_at_most(woken, LOOK_AGAIN_S)
            case Update():
                await self._failovers.change(failover, {**move.changes, "waiting_for": ""})
                await asyncio.sleep(UPDATE_EVERY_S if "phase" not in move.changes else 0)
            case _:
                await self._enter(failover, move)
        again.reset()
        return False

    async def _enter(self, failover: Failover, move: Move) -> None:
        match move:
            case Enter():
                with span(f"failover.{move.phase}", traceparent=failover.traceparent, failover=failover.id):
                    await self._failovers.change(failover, {**move.changes, "phase": move.phase})
                log.info("phase", phase=move.phase.value)
            case Assign():
                with span("failover.assign", traceparent=failover.traceparent, failover=failover.id):
                    await self._failovers.change(
                        failover,
                        {
                            "phase": Phase.LICENSING,
                            "failover_server": move.candidate.server,
                            "failover_server_name": move.candidate.name,
                            "failover_machine": move.candidate.machine,
                            "rejected": {},
                        },
                    )
            case Succeed():
                await self._succeed(failover, move.reason)

    async def _take_step(self, failover: Failover, step: Step) -> bool:
        """Record, act, record. Returns whether it succeeded."""
        records, number = begin_step(failover, step.name, self._clock.wall_ms())
        begun = await self._failovers.change(failover, {"steps": records})
        error = ""
        changes: dict[str, object] = {}
        with span(
            f"failover.{step.name}",
            traceparent=failover.traceparent,
            failover=failover.id,
            server=failover.server,
            step=number,
        ) as current:
            try:
                changes = await self._steps.take(step.name, begun, number)
            except UnderstudyError as failure:
                error = failure.message
                current.record_exception(failure)
        log.info("step", step=step.name, number=number, error=error)
        ended = end_step(begun, number, self._clock.wall_ms(), error)
        waiting_for = f"{step.name}: {error}" if error and not step.soft else ""
        await self._failovers.change(begun, {**changes, "steps": ended, "waiting_for": waiting_for})
        return not error or step.soft

    async def _note_waiting(self, failover: Failover, wait: Wait) -> None:
        rejected = failover.rejected if wait.rejected is None else wait.rejected
        if wait.reason != failover.waiting_for or rejected != failover.rejected:
            await self._failovers.change(failover, {"waiting_for": wait.reason, "rejected": rejected})

    async def _succeed(self, lost: Failover, reason: str) -> None:
        """House.md, 5: `lost` waits for its footage, a new failover takes over with the next candidate."""
        server = await servers(self._database).get(lost.server)
        if server is None:
            await self._failovers.change(lost, {"phase": Phase.RESTORING})
            return
        selection = select(
            await self._surroundings.candidates(server),
            site=server.site,
            cameras=await self._surroundings.cameras_of(server.id),
        )
        created = await self._failovers.create(
            server,
            reason=Reason(lost.reason.code, f"{reason} ({lost.reason.text})", by=lost.reason.by),
            automatic=lost.automatic,
            settings=lost.settings,
            candidate=selection.chosen,
            rejected=selection.rejected,
            predecessor=lost,
        )
        self.take_up(created.id)


class _Pauses:
    """Growing pauses that begin anew after a success."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._pauses: Iterator[float] = pauses(0.1, 2.0)

    def __next__(self) -> float:
        return next(self._pauses)
