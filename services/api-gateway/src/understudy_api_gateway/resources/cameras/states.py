"""What becomes of a server's cameras now, and at whose hands: its own, or its failover server's."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from understudy_contracts.machine import CameraEvidence
from understudy_contracts.model import Phase
from understudy_contracts.servers import Server
from understudy_store import collections

from understudy_api_gateway.parts import Parts

UNKNOWN = "unknown"
_SERVED_ELSEWHERE = [phase.value for phase in (Phase.ACTIVATING, Phase.STANDING_DOWN, Phase.ACTIVE)]


class CameraHealth(msgspec.Struct, frozen=True):
    """How a camera's stream does, as the server that has it says. Times in UTC ms, None before the first.

    `bitrate_bps` is of what the camera sent, `fps` of what was written, both in the last second.
    `clock_skew_ms` is how far the camera's clock is ahead of the server's; None until it told the time.
    """

    connected_at: int | None
    last_frame_at: int | None
    bitrate_bps: int
    fps: float
    reconnects: int
    clock_skew_ms: int | None


@dataclass(frozen=True)
class ServedBy:
    """The server whose machine has the cameras now, and what that machine says; None if it is not heard."""

    server: str
    cameras: dict[str, CameraEvidence] | None

    def state_of(self, camera: str) -> tuple[str, str]:
        """The camera's state and its reason, in words for people."""
        if self.cameras is None:
            return UNKNOWN, f"{self.server} is not heard"
        evidence = self.cameras.get(camera)
        if evidence is None:
            return UNKNOWN, f"{self.server} has not taken it up"
        return evidence.state.value, evidence.reason

    def health_of(self, camera: str) -> CameraHealth | None:
        """None while nobody says anything of the camera."""
        evidence = (self.cameras or {}).get(camera)
        if evidence is None:
            return None
        return CameraHealth(
            connected_at=evidence.connected_at,
            last_frame_at=evidence.last_frame_at,
            bitrate_bps=evidence.bitrate_bps,
            fps=evidence.fps,
            reconnects=evidence.reconnects,
            clock_skew_ms=evidence.clock_skew_ms,
        )


async def served_by(parts: Parts, server: Server) -> ServedBy:
    """Who has the cameras of `server` now."""
    failovers = await collections.failovers(parts.database).find(
        {"server": server.id, "phase": {"$in": _SERVED_ELSEWHERE}}, order=[("epoch", -1)], limit=1
    )
    if failovers and failovers[0].failover_server is not None:
        cameras = parts.machine_states.cameras(failovers[0].failover_machine)
        return ServedBy(failovers[0].failover_server, cameras)
    return ServedBy(server.id, parts.machine_states.cameras(server.machine))
