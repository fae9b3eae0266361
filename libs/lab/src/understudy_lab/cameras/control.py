"""Faults ordered over standard input, one JSON object a line, while the simulator runs as a process."""

from __future__ import annotations

from typing import Literal

import msgspec

from understudy_lab.cameras.camera import Fault
from understudy_lab.cameras.simulator import SimulatedCameras


class SetFault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="fault", tag_field="do"):
    """`{"do": "fault", "camera": "cam-1", "fault": "stall"}`; camera `*` means all."""

    fault: Fault
    camera: str = "*"


class DropViewers(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="drop", tag_field="do"):
    """`{"do": "drop", "camera": "cam-1"}`: close the connections of all its viewers."""

    camera: str = "*"


class Describe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="describe", tag_field="do"):
    """`{"do": "describe"}`: how far each camera is, and who watches."""

    camera: str = "*"


class CameraState(msgspec.Struct, frozen=True):
    id: str
    fault: Fault
    viewers: int
    next_number: int
    """The number of the frame that it takes next."""


class Done(msgspec.Struct, frozen=True):
    """The answer to an order: the cameras as they are now, or why it was refused."""

    ok: bool
    error: str = ""
    cameras: list[CameraState] = []


Order = SetFault | DropViewers | Describe
_orders = msgspec.json.Decoder(Order)

EVERY_CAMERA: Literal["*"] = "*"


def carry_out(line: bytes, cameras: SimulatedCameras) -> Done:
    """Do what a line says; what makes no sense is answered, never raised."""
    try:
        order = _orders.decode(line)
    except msgspec.MsgspecError as error:
        return Done(ok=False, error=f"not understood: {error}")
    ids = cameras.ids if order.camera == EVERY_CAMERA else [order.camera]
    if unknown := set(ids) - set(cameras.ids):
        return Done(ok=False, error=f"there is no camera {unknown.pop()!r}")
    for camera in map(cameras.camera, ids):
        match order:
            case SetFault():
                camera.set_fault(order.fault)
            case DropViewers():
                camera.drop_viewers()
            case Describe():
                pass
    states = [CameraState(c.id, c.fault, len(c.viewers), c.next_number) for c in map(cameras.camera, ids)]
    return Done(ok=True, cameras=states)
