"""What stopping a failover takes away, for people: said before it is done."""

from __future__ import annotations

from understudy_contracts.failovers import Failover


def what_goes_dark(failover: Failover) -> str:
    """What stopping `failover` while its original is away means."""
    names = [camera.camera for camera in failover.cameras]
    shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    cameras = f"its {len(names)} cameras ({shown})" if names else "its cameras"
    return (
        f"{failover.server_name} is not back: nobody will record {cameras} once this failover is stopped, "
        "and no failover will start by itself until it is healthy again."
    )
