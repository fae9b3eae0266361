"""The collections of the replicator. It alone writes them."""

from __future__ import annotations

import msgspec
from understudy_contracts.ids import FailoverId, Id
from understudy_contracts.settings import ServerSettings


class Head(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which version of a server's own settings is in force, and whether a failover operates a copy.

    `highest` is the highest version that was ever given out for this server, in a copy too: versions are
    never reused. Version 0 is a server that nobody has given settings yet.
    """

    server: Id
    version: int = 0
    highest: int = 0
    copy: FailoverId | None = None
    forgotten: bool = False
    revision: int = 0


class Copy(msgspec.Struct, frozen=True, omit_defaults=True):
    """The copy of `server`'s settings that `failover` operates on `machine` (M14); kept when it is closed,
    so that a late request does not open it again."""

    failover: FailoverId
    server: Id
    machine: Id
    version: int
    open: bool = True


class Version(msgspec.Struct, frozen=True, omit_defaults=True):
    """One version, never changed afterwards.

    `settings` is JSON text: what people put into a device's configuration (names with dots, dollars, large
    numbers) must not meet the database's own rules.
    """

    id: str
    server: Id
    version: int
    written_at: int
    by: str
    settings: str
    failover: FailoverId | None = None

    @property
    def content(self) -> ServerSettings:
        return msgspec.json.decode(self.settings, type=ServerSettings)


class CameraId(msgspec.Struct, frozen=True, omit_defaults=True):
    """A camera id that was given out: to which server, and whether it was retired. It is never free again."""

    id: Id
    server: Id
    retired: bool = False


class StagedMark(msgspec.Struct, frozen=True, omit_defaults=True):
    """The last version that we told of as staged on a machine."""

    id: str
    machine: Id
    server: Id
    version: int


def version_id(server: str, version: int) -> str:
    return f"{server}.{version}"


def staged_id(machine: str, server: str) -> str:
    return f"{machine}.{server}"
