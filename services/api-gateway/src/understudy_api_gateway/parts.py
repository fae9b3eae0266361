"""What the handlers of all resources work with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import aiohttp
from understudy_bus.authority import AccountSigner
from understudy_bus.connection import Bus
from understudy_contracts.errors import Unavailable
from understudy_contracts.events import EventBody, EventKind
from understudy_contracts.verbs import A, Q, Verb
from understudy_runtime.clock import Clock
from understudy_runtime.grants import Signer
from understudy_store.database import Database, Session
from understudy_store.outbox import Outbox

from understudy_api_gateway.journal import Journal
from understudy_api_gateway.machine_states import MachineStates
from understudy_api_gateway.metrics import Metrics
from understudy_api_gateway.settings import GatewaySettings

R = TypeVar("R")


class Parts:
    """The joined parts of one gateway process. `readers` counts open event streams, `watchers` live views;
    `http` is the way to the machines' media; `closing` is set when the process is about to end."""

    def __init__(
        self,
        *,
        settings: GatewaySettings,
        database: Database,
        bus: Bus,
        outbox: Outbox,
        clock: Clock,
        account: AccountSigner | None,
        signer: Signer | None,
        trust: dict[str, str],
        http: aiohttp.ClientSession,
    ) -> None:
        self.settings = settings
        self.database = database
        self.bus = bus
        self.outbox = outbox
        self.clock = clock
        self.account = account
        self.signer = signer
        self.trust = trust
        self.http = http
        self.journal = Journal(database, outbox, clock)
        self.metrics = Metrics()
        self.machine_states = MachineStates(bus.subjects, clock)
        self.readers = 0
        self.watchers = 0
        self.closing = asyncio.Event()

    async def change(self, work: Callable[[Session], Coroutine[Any, Any, R]]) -> R:
        """Carry out `work` in one transaction, then have its events published at once."""
        result = await self.database.transact(work)
        self.outbox.wake()
        return result

    async def tell(
        self, session: Session, kind: EventKind, subject: str, event: str, body: EventBody
    ) -> None:
        await self.outbox.append(session, kind, subject, event, body)

    async def ask(
        self, verb: Verb[Q, A], request: Q, *, user: str, what: str, subject: str, **details: Any
    ) -> A:
        """Have another service change something, and record it.

        An answer that does not come in time is recorded too: it may have been done.
        """
        try:
            answer = await self.bus.ask(verb, request)
        except Unavailable:
            await self._record(user, what, subject, {**details, "outcome": "unknown"})
            raise
        await self._record(user, what, subject, details)
        return answer

    async def _record(self, user: str, what: str, subject: str, details: dict[str, Any]) -> None:
        async def work(session: Session) -> None:
            await self.journal.write(session, user, what, subject, **details)

        await self.change(work)
