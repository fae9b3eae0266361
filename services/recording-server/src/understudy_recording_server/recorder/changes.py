"""What has to change so that the wanted cameras of a folder run: unchanged ones are never touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
from understudy_contracts.errors import InvalidInput

from understudy_recording_server.recorder.protocol import CameraSpec


@dataclass(frozen=True)
class Changes:
    """Ids to stop, cameras to start, ids to keep. A changed camera is stopped and started."""

    stop: list[str]
    start: list[CameraSpec]
    keep: list[str]


def changes(running: Mapping[str, CameraSpec], wanted: Sequence[CameraSpec]) -> Changes:
    """Compare what runs with what is wanted. Another sub stream is no reason to interrupt the recording.

    Raises:
        InvalidInput: a camera is wanted twice.
    """
    by_id = {spec.id: spec for spec in wanted}
    if len(by_id) != len(wanted):
        raise InvalidInput("the same camera is listed twice: list each once")
    return Changes(
        stop=[id_ for id_, spec in running.items() if not same_recording(by_id.get(id_), spec)],
        start=[spec for spec in wanted if not same_recording(running.get(spec.id), spec)],
        keep=[id_ for id_, spec in running.items() if same_recording(by_id.get(id_), spec)],
    )


def same_recording(one: CameraSpec | None, other: CameraSpec) -> bool:
    """Whether the recording goes on untouched when one becomes the other."""
    return one is not None and msgspec.structs.replace(one, sub=other.sub) == other
