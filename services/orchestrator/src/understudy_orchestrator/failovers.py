"""The failovers in MongoDB: two unique indexes are the mutex, a revision fences the writers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from understudy_contracts.errors import Conflict, NotFound
from understudy_contracts.events import FailoverChanged
from understudy_contracts.failovers import Failover, PhaseEntry, Reason
from understudy_contracts.ids import failover_id
from understudy_contracts.model import Phase
from understudy_contracts.servers import Server
from understudy_contracts.settings import FailoverSettings
from understudy_runtime.clock import Clock
from understudy_runtime.telemetry import current_traceparent
from understudy_store.collections import failovers
from understudy_store.database import Database, Session
from understudy_store.outbox import Outbox

from understudy_orchestrator.selection import Candidate
from understudy_orchestrator.transitions import may_follow

HOLDS_ORIGINAL: Final = [
    phase.value for phase in Phase if phase not in {Phase.RESTORING, Phase.CLEARING, Phase.DONE}
]
HOLDS_FAILOVER_SERVER: Final = [phase.value for phase in Phase if phase is not Phase.DONE]


class Failovers:
    """All failovers. Each write carries its event in the same transaction."""

    def __init__(self, database: Database, outbox: Outbox, clock: Clock) -> None:
        self._database = database
        self._documents = failovers(database)
        self._outbox = outbox
        self._clock = clock

    async def prepare(self) -> None:
        """The mutexes: one failover per recording server until `restoring`, one per failover server until
        `done` (house.md, How a failover flows)."""
        await self._documents.index(
            "server", unique=True, where={"phase": {"$in": HOLDS_ORIGINAL}}, name="one-per-recording-server"
        )
        await self._documents.index(
            "failover_server",
            unique=True,
            where={"failover_server": {"$type": "string"}, "phase": {"$in": HOLDS_FAILOVER_SERVER}},
            name="one-per-failover-server",
        )
        await self._documents.index("phase", name="phase")

    async def get(self, failover: str) -> Failover:
        """Raises:
        NotFound: there is no such failover.
        """
        document = await self._documents.get(failover)
        if document is None:
            raise NotFound(f"there is no failover {failover}")
        return document

    async def unfinished(self) -> list[Failover]:
        return await self._documents.find({"phase": {"$ne": Phase.DONE.value}}, order=[("epoch", 1)])

    async def holding(self, server: str) -> Failover | None:
        """The failover that protects `server` now, before its restoration."""
        found = await self._documents.find({"server": server, "phase": {"$in": HOLDS_ORIGINAL}})
        return found[0] if found else None

    async def latest_of(self, server: str) -> Failover | None:
        found = await self._documents.find({"server": server}, order=[("epoch", -1)], limit=1)
        return found[0] if found else None

    async def busy_failover_servers(self) -> dict[str, str]:
        """Failover servers that are bound to a failover, and to which."""
        return {f.failover_server: f.id for f in await self.unfinished() if f.failover_server is not None}

    async def create(
        self,
        server: Server,
        *,
        reason: Reason,
        automatic: bool,
        settings: FailoverSettings,
        candidate: Candidate | None,
        rejected: Mapping[str, str],
        requested: str | None = None,
        predecessor: Failover | None = None,
    ) -> Failover:
        """Begin a failover, with `candidate` reserved in the same transaction; without one it waits.

        With `predecessor`, that one enters `restoring` in the same transaction.

        Raises:
            Conflict: the server is in a failover already, or the failover server was taken meanwhile.
        """

        async def work(session: Session) -> Failover:
            if predecessor is not None:
                await self._write(session, predecessor, {"phase": Phase.RESTORING, "original": "away"})
            # Outside of the transaction two starts would only draw two numbers; inside they conflict early.
            epoch = await self._database.next_number("epoch", session)
            now = self._clock.wall_ms()
            phase = Phase.WAITING if candidate is None else Phase.LICENSING
            failover = Failover(
                id=failover_id(epoch),
                epoch=epoch,
                server=server.id,
                server_name=server.name,
                site=server.site,
                machine=server.machine,
                reason=reason,
                automatic=automatic,
                settings=settings,
                phase=phase,
                created_at=now,
                phase_since=now,
                failover_server=candidate.server if candidate else None,
                failover_server_name=candidate.name if candidate else "",
                failover_machine=candidate.machine if candidate else None,
                requested_failover_server=requested,
                phases=[PhaseEntry(phase, now)],
                rejected=dict(rejected),
                waiting_for="" if candidate else "no failover server is free and fit",
                predecessor=predecessor.id if predecessor else None,
                traceparent=current_traceparent(),
                revision=1,
            )
            await self._documents.insert(failover, session)
            await self._announce(session, failover, phase.value)
            return failover

        created = await self._database.transact(work)
        self._outbox.wake()
        return created

    async def change(self, failover: Failover, changes: Mapping[str, object]) -> Failover:
        """Write `changes`, a new phase among them or not, and tell of it.

        Raises:
            Conflict: another writer was first (read again), or the phase may not follow.
        """

        async def work(session: Session) -> Failover:
            return await self._write(session, failover, changes)

        changed = await self._database.transact(work)
        self._outbox.wake()
        return changed

    async def _write(self, session: Session, failover: Failover, changes: Mapping[str, object]) -> Failover:
        changed = self._with(failover, changes)
        if not await self._documents.replace(changed, session, where={"revision": failover.revision}):
            raise Conflict(f"{failover.id} was changed meanwhile", revision=failover.revision)
        event = changed.phase.value if changed.phase is not failover.phase else "changed"
        await self._announce(session, changed, event)
        return changed

    def _with(self, failover: Failover, changes: Mapping[str, object]) -> Failover:
        phase = changes.get("phase", failover.phase)
        entered: dict[str, object] = {}
        if phase is not failover.phase:
            if not isinstance(phase, Phase) or not may_follow(failover.phase, phase):
                raise Conflict(f"{failover.id} cannot go from {failover.phase} to {phase}")
            now = self._clock.wall_ms()
            entered = {
                "phase_since": now,
                "phases": [*failover.phases, PhaseEntry(phase, now)],
                "steps_before_phase": max((step.number for step in failover.steps), default=0),
                "waiting_for": "",
            }
        return msgspec.structs.replace(failover, **{**entered, **changes, "revision": failover.revision + 1})

    async def _announce(self, session: Session, failover: Failover, event: str) -> None:
        await self._outbox.append(session, "failover", failover.id, event, FailoverChanged(failover))
