"""The collections that more than one service reads. Each has one writer (house.md, Who owns what)."""

from __future__ import annotations

from typing import Final

import msgspec
from understudy_contracts.failovers import Failover
from understudy_contracts.licenses import LedgerEntry, LicenseKey
from understudy_contracts.restorations import RestorationJob
from understudy_contracts.servers import Server, ServerStatus, ServerVerdict
from understudy_contracts.settings import FailoverSettings

from understudy_store.database import Database, Documents

DEFAULTS_ID: Final = "defaults"


class FailoverDefaults(msgspec.Struct, frozen=True):
    """The one document of the failover settings that hold for servers without their own."""

    id: str
    settings: FailoverSettings
    revision: int = 0


def servers(database: Database) -> Documents[Server]:
    """Written by the api-gateway."""
    return database.documents("servers", Server, "id")


def failover_defaults(database: Database) -> Documents[FailoverDefaults]:
    """Written by the api-gateway."""
    return database.documents("failover-defaults", FailoverDefaults, "id")


def verdicts(database: Database) -> Documents[ServerVerdict]:
    """Written by the monitor."""
    return database.documents("verdicts", ServerVerdict, "server")


def statuses(database: Database) -> Documents[ServerStatus]:
    """Written by the monitor."""
    return database.documents("statuses", ServerStatus, "server")


def failovers(database: Database) -> Documents[Failover]:
    """Written by the orchestrator."""
    return database.documents("failovers", Failover, "id")


def license_keys(database: Database) -> Documents[LicenseKey]:
    """Written by the license-broker."""
    return database.documents("license-keys", LicenseKey, "key")


def license_ledger(database: Database) -> Documents[LedgerEntry]:
    """Written by the license-broker."""
    return database.documents("license-ledger", LedgerEntry, "position")


def restorations(database: Database) -> Documents[RestorationJob]:
    """Written by recording-sync."""
    return database.documents("restorations", RestorationJob, "failover")


async def read_defaults(database: Database) -> FailoverSettings:
    """The failover settings of servers that have none of their own."""
    document = await failover_defaults(database).get(DEFAULTS_ID)
    return document.settings if document else FailoverSettings()
