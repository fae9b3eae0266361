"""Settings as clients send them: the same forms as in the contracts, but unknown fields are refused."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta
from understudy_contracts.settings import (
    Camera,
    CameraSource,
    Device,
    RetentionBytes,
    RetentionDays,
    ServerSettings,
    WhenFull,
)


class SourceGiven(CameraSource, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Where a camera's stream is fetched."""

    def __repr__(self) -> str:
        return f"SourceGiven(url={self.url!r}, username={self.username!r}, password=***)"


class CameraInSettings(Camera, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A camera with its id."""

    source: SourceGiven
    sub_source: SourceGiven | None = None


class DeviceGiven(Device, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Any other device."""


Devices = Annotated[list[DeviceGiven], Meta(max_length=2000)]


class SettingsGiven(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """All settings of a server; what is left out is empty afterwards."""

    cameras: Annotated[list[CameraInSettings], Meta(max_length=2000)] = []
    io_modules: Devices = []
    door_controllers: Devices = []
    display_clients: Devices = []
    e_maps: Devices = []
    action_rules: Devices = []
    layouts: Devices = []
    notifications: Devices = []
    audio_patterns: Devices = []
    segment_s: Annotated[int, Meta(ge=2, le=3600)] = 60
    retention_days: RetentionDays | None = None
    retention_bytes: RetentionBytes | None = None
    minimum_free_bytes: RetentionBytes | None = None
    when_full: WhenFull = "oldest-first"


class PutSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`expected_version` refuses to overwrite a change that one has not seen."""

    settings: SettingsGiven
    expected_version: int | None = None


def settings_from(values: object) -> ServerSettings:
    """The contract's settings, from plain values."""
    return msgspec.convert(values, ServerSettings)
