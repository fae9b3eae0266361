"""Which cameras run, and into which folder they record: told by duty and settings alone."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from understudy_contracts.ids import FailoverId
from understudy_contracts.machine import Duty, OwnCameras, Serving
from understudy_contracts.model import FailoverRange
from understudy_contracts.settings import Camera, ServerSettings, VersionedSettings

from understudy_recording_server.recorder.protocol import CameraSpec, SubStream

OWN_FOLDER = ""
SWITCHED_OFF = "switched off in its settings"
LEFT_OUT = "beyond the failover server's capacity"


class CameraSet(msgspec.Struct, frozen=True):
    """The cameras of one folder: those that run, and those that stay off, each with the reason.

    `snapshot_every_s` of those that a snapshot is taken of at an interval, `post_record_s` of all that run.
    """

    cameras: list[CameraSpec]
    off: dict[str, str]
    segment_s: int
    failover: FailoverId | None = None
    snapshot_every_s: dict[str, int] = {}
    post_record_s: dict[str, int] = {}


def folder_of(failover: str) -> str:
    return f"failovers/{failover}"


def wanted(
    duty: Duty, own: VersionedSettings | None, staged: Mapping[str, VersionedSettings]
) -> dict[str, CameraSet]:
    """The sets that must run now, by folder. None for a machine that stands by or has stood down."""
    if isinstance(duty, OwnCameras) and own is not None:
        everyone = [camera.id for camera in own.settings.cameras]
        return {OWN_FOLDER: _set(own.settings, everyone, record=True, failover=None)}
    if isinstance(duty, Serving) and duty.server in staged:
        record = duty.range is FailoverRange.FULL
        settings = staged[duty.server].settings
        return {folder_of(duty.failover): _set(settings, duty.cameras, record=record, failover=duty.failover)}
    return {}


def without_recording(sets: Mapping[str, CameraSet]) -> dict[str, CameraSet]:
    """The same cameras, watched live and not recorded: there is no room for footage."""
    return {
        folder: msgspec.structs.replace(
            one, cameras=[msgspec.structs.replace(spec, record=False) for spec in one.cameras]
        )
        for folder, one in sets.items()
    }


def _set(settings: ServerSettings, ids: list[str], *, record: bool, failover: str | None) -> CameraSet:
    running, off = [], {}
    chosen = set(ids)
    for camera in settings.cameras:
        if not camera.enabled:
            off[camera.id] = SWITCHED_OFF
        elif camera.id not in chosen:
            off[camera.id] = LEFT_OUT
        else:
            running.append(_spec(camera, record=record))
    ids_running = {spec.id for spec in running}
    snapshots = {
        camera.id: camera.snapshot_every_s
        for camera in settings.cameras
        if camera.id in ids_running and camera.snapshot_every_s is not None and record
    }
    post = {camera.id: camera.post_record_s for camera in settings.cameras if camera.id in ids_running}
    return CameraSet(running, off, settings.segment_s, failover, snapshots, post)


def _spec(camera: Camera, *, record: bool) -> CameraSpec:
    source, sub = camera.source, camera.sub_source
    return CameraSpec(
        camera.id,
        source.url,
        source.username,
        source.password,
        source.transport,
        record=record and camera.recording != "off",
        audio=camera.audio,
        by_event=camera.recording == "event",
        pre_record_s=camera.pre_record_s if camera.recording == "event" else 0,
        sub=SubStream(sub.url, sub.username, sub.password, sub.transport) if sub else None,
    )
