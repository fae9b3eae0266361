"""What the machines confirm of a failover's cameras. Pure."""

from __future__ import annotations

import msgspec
from understudy_contracts.failovers import CameraTakeover, Failover
from understudy_contracts.model import CameraState

from understudy_orchestrator.world import RECORDS, World


def cameras_now(failover: Failover, world: World) -> list[CameraTakeover]:
    """The failover's cameras with what its failover server reports of them."""
    if world.stand_in is None or not world.stand_in.serves(failover.id):
        return failover.cameras
    evidence = {c.camera: c for c in world.stand_in.heartbeat.cameras if c.failover == failover.id}
    cameras: list[CameraTakeover] = []
    for camera in failover.cameras:
        seen = evidence.get(camera.camera)
        if seen is None or camera.state is CameraState.DISABLED:
            cameras.append(camera)
            continue
        cameras.append(
            msgspec.structs.replace(
                camera,
                state=seen.state,
                reason=seen.reason,
                connected_at=camera.connected_at or seen.connected_at,
                first_key_frame_at=camera.first_key_frame_at or seen.first_key_frame_at,
            )
        )
    return cameras


def taken_over_at(cameras: list[CameraTakeover]) -> int | None:
    """When the last camera's first key frame was written (UTC ms); None if there is none."""
    return max((c.first_key_frame_at for c in cameras if c.first_key_frame_at is not None), default=None)


def settled(camera: CameraTakeover) -> bool:
    return camera.first_key_frame_at is not None or camera.state in {
        CameraState.DISABLED,
        CameraState.REFUSED,
        CameraState.FAILED,
    }


def all_confirmed(cameras: list[CameraTakeover]) -> bool:
    return all(c.first_key_frame_at is not None or c.state is CameraState.DISABLED for c in cameras)


def not_yet_back(failover: Failover, world: World) -> list[str]:
    """Cameras that the failover server records and the original does not yet (make before break, B4)."""
    if world.original is None or not world.original.records_own_cameras:
        return ["its cameras"]
    own = {c.camera: c for c in world.original.heartbeat.cameras if c.failover is None}
    missing = []
    for camera in cameras_now(failover, world):
        if camera.state not in RECORDS:
            continue
        seen = own.get(camera.camera)
        if seen is None or seen.state not in RECORDS or seen.first_key_frame_at is None:
            missing.append(camera.camera)
    return missing
