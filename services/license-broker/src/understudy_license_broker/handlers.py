"""The edge to the bus: requests in, answers out."""

from __future__ import annotations

from typing import Final

from understudy_bus.serving import VerbHandlers
from understudy_contracts.model import Service
from understudy_contracts.verbs import (
    IMPORT_KEYS,
    ISSUE_PERMIT,
    MOVE_KEYS,
    READ_LEDGER,
    READ_LICENSES,
    RETURN_KEYS,
    ImportKeys,
    IssuePermit,
    Licenses,
    MoveKeys,
    ReadLedger,
    ReadLicenses,
    ReturnKeys,
    SignedToken,
)
from understudy_contracts.verbs import Ledger as LedgerEntries
from understudy_runtime.clock import Clock
from understudy_runtime.grants import Grant, Signer

from understudy_license_broker.ledger import Ledger
from understudy_license_broker.moves import check_epoch

PERMIT_MS: Final = 3_600_000


class Handlers:
    """What the broker is asked."""

    def __init__(self, ledger: Ledger, signer: Signer, clock: Clock) -> None:
        self._ledger = ledger
        self._signer = signer
        self._clock = clock

    def verbs(self) -> VerbHandlers:
        verbs = VerbHandlers(Service.LICENSE_BROKER)
        verbs.add(IMPORT_KEYS, self.import_keys)
        verbs.add(MOVE_KEYS, self.move_keys)
        verbs.add(RETURN_KEYS, self.return_keys)
        verbs.add(ISSUE_PERMIT, self.issue_permit)
        verbs.add(READ_LICENSES, self.read_licenses)
        verbs.add(READ_LEDGER, self.read_ledger)
        return verbs

    async def import_keys(self, request: ImportKeys) -> Licenses:
        return Licenses(await self._ledger.import_keys(request.keys, request.server, request.by))

    async def move_keys(self, request: MoveKeys) -> Licenses:
        return Licenses(
            await self._ledger.lend(
                request.failover,
                request.epoch,
                request.source,
                request.target,
                request.count,
                step=request.step,
            )
        )

    async def return_keys(self, request: ReturnKeys) -> Licenses:
        return Licenses(await self._ledger.give_back(request.failover, request.epoch, step=request.step))

    async def issue_permit(self, request: IssuePermit) -> SignedToken:
        check_epoch(request.failover, request.epoch)
        grant = Grant(
            purpose="permit",
            machine=request.machine,
            expires_at=self._clock.wall_ms() + PERMIT_MS,
            failover=request.failover,
            epoch=request.epoch,
        )
        return SignedToken(self._signer.sign(grant), grant.expires_at)

    async def read_licenses(self, request: ReadLicenses) -> Licenses:
        return Licenses(await self._ledger.keys(request.server))

    async def read_ledger(self, request: ReadLedger) -> LedgerEntries:
        return LedgerEntries(await self._ledger.entries(request.after, request.limit))
