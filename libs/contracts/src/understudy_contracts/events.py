"""Durable events: `understudy.evt.<kind>.<id>.<event>`, written by the owner's outbox only.

The envelope is the same for all; `data` depends on kind and event, and a reader that does not know an event
passes it by. `sequence` grows per (kind, id) without holes, so that readers ignore what they have seen (P5).
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from understudy_contracts.failovers import Failover
from understudy_contracts.ids import Id
from understudy_contracts.licenses import LicenseKey
from understudy_contracts.restorations import RestorationJob
from understudy_contracts.servers import Server, ServerStatus, ServerVerdict

EventKind = Literal["server", "camera", "failover", "license", "settings", "restoration", "user"]


class Event(msgspec.Struct, frozen=True):
    """The envelope. `id` is the owner and the position in its outbox; `at` is UTC milliseconds."""

    id: str
    kind: EventKind
    subject: Id
    event: Id
    sequence: int
    at: int
    data: msgspec.Raw


class ServerChanged(msgspec.Struct, frozen=True):
    """`added`, `changed`, `removed`, `joined`: the server's document after it."""

    server: Server


class VerdictChanged(msgspec.Struct, frozen=True):
    """`verdict`."""

    verdict: ServerVerdict


class StatusChanged(msgspec.Struct, frozen=True):
    """`status`."""

    status: ServerStatus


class FailoverChanged(msgspec.Struct, frozen=True):
    """Named after the phase that was entered, or `changed` within a phase."""

    failover: Failover


class KeysMoved(msgspec.Struct, frozen=True):
    """`imported`, `moved`, `returned`; the subject is the server that holds them now."""

    keys: list[LicenseKey]
    failover: str | None = None


class SettingsChanged(msgspec.Struct, frozen=True):
    """`changed`, `copy-opened`, `copy-closed`, `staged`. No settings: they hold passwords."""

    server: Id
    version: int
    by: str = ""
    failover: str | None = None
    machine: str | None = None


class RestorationChanged(msgspec.Struct, frozen=True):
    """`started`, `progress`, `waiting`, `done`, `stopped`."""

    job: RestorationJob


class DefaultsChanged(msgspec.Struct, frozen=True):
    """The failover settings of all servers that have none of their own were changed."""

    by: str


class UserDid(msgspec.Struct, frozen=True):
    """`logged-in`, `refused`, and every change made through the API."""

    user: str
    what: str
    details: dict[str, Any] = {}


EventBody = (
    ServerChanged
    | VerdictChanged
    | StatusChanged
    | FailoverChanged
    | KeysMoved
    | SettingsChanged
    | RestorationChanged
    | DefaultsChanged
    | UserDid
)
