"""`/licenses`: keys, holders, ledger, and import, through the license-broker (M12)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import Router, get, post
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta
from understudy_contracts.ids import Id
from understudy_contracts.licenses import LedgerEntry, LicenseKey
from understudy_contracts.verbs import (
    IMPORT_KEYS,
    READ_LEDGER,
    READ_LICENSES,
    ImportKeys,
    Licenses,
    ReadLedger,
    ReadLicenses,
)

from understudy_api_gateway.injection import IdentityOf, PartsOf
from understudy_api_gateway.resources.servers.registry import find_recording_server

KeyText = Annotated[str, Meta(pattern=r"^[A-Z0-9-]{4,64}(?![\s\S])")]


class ImportLicenses(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """New keys, held by `server` from now on."""

    keys: Annotated[list[KeyText], Meta(min_length=1, max_length=10_000)]
    server: Id


class LicensesView(msgspec.Struct, frozen=True):
    """All keys with their holders, and the ledger after `after`, oldest first."""

    keys: list[LicenseKey]
    ledger: list[LedgerEntry]


@get("/")
async def show(
    parts: PartsOf,
    after: Annotated[int, QueryParameter(ge=0, le=2**53)] = 0,
    limit: Annotated[int, QueryParameter(ge=1, le=2000)] = 1000,
) -> LicensesView:
    keys = await parts.bus.ask(READ_LICENSES, ReadLicenses())
    ledger = await parts.bus.ask(READ_LEDGER, ReadLedger(after, limit))
    return LicensesView(keys.keys, ledger.entries)


@post("/")
async def import_keys(data: JSONBody[ImportLicenses], parts: PartsOf, identity: IdentityOf) -> Licenses:
    server = await find_recording_server(parts.database, data.server)
    return await parts.ask(
        IMPORT_KEYS,
        ImportKeys(data.keys, server.id, identity.user),
        user=identity.user,
        what="imported-licenses",
        subject=server.id,
        count=len(data.keys),
    )


licenses_router = Router("/licenses", route_handlers=[show, import_keys])
