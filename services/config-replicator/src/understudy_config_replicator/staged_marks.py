"""Tells, once, when what a machine has staged becomes current."""

from __future__ import annotations

from functools import partial

from understudy_contracts.events import SettingsChanged
from understudy_contracts.machine import Heartbeat
from understudy_store.database import Database, Session
from understudy_store.outbox import Outbox

from understudy_config_replicator.desired import Desired
from understudy_config_replicator.documents import StagedMark, staged_id


class StagedMarks:
    """Remembers in the database which staged versions were told of, so that a restart tells none again."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._outbox = outbox
        self._marks = database.documents("settings-staged", StagedMark, "id")
        self._known: dict[str, int] = {}

    async def prepare(self) -> None:
        self._known = {mark.id: mark.version for mark in await self._marks.find()}

    def untold(self, desired: Desired, heartbeat: Heartbeat) -> dict[str, int]:
        """The versions, by server, that are staged and current and were not told of yet."""
        return {
            server: settings.version
            for server, settings in desired.staged.items()
            if heartbeat.staged.get(server) == settings.version
            and self._known.get(staged_id(heartbeat.machine, server)) != settings.version
        }

    async def tell(self, machine: str, versions: dict[str, int]) -> None:
        """Write the marks, and the events with them.

        Raises:
            Unavailable: MongoDB does not answer; nothing was told.
        """
        for server, version in versions.items():
            mark = StagedMark(staged_id(machine, server), machine, server, version)
            await self._database.transact(partial(self._mark, mark))
            self._known[mark.id] = version
        self._outbox.wake()

    async def _mark(self, mark: StagedMark, session: Session) -> None:
        if await self._marks.get(mark.id, session) == mark:
            return
        await self._marks.replace(mark, session, upsert=True)
        body = SettingsChanged(mark.server, mark.version, machine=mark.machine)
        await self._outbox.append(session, "settings", mark.server, "staged", body)
