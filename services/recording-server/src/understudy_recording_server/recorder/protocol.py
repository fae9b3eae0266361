"""What agent and recorder say to each other: one JSON object a line, over the recorder's stdin and stdout.

`folder` is `""` for a server's own footage, or `failovers/f-12`; one recorder can hold several at once. Times
are UTC milliseconds; None when it has not happened.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta
from understudy_contracts.errors import InvalidMessage
from understudy_contracts.ids import Id
from understudy_contracts.model import CameraState

Folder = Annotated[str, Meta(max_length=80)]


class SubStream(msgspec.Struct, frozen=True, omit_defaults=True):
    """A camera's second, smaller stream: opened while somebody watches it, never recorded."""

    url: Annotated[str, Meta(min_length=1, max_length=2000)]
    username: Annotated[str, Meta(max_length=200)] = ""
    password: Annotated[str, Meta(max_length=200)] = ""
    transport: Literal["tcp", "udp"] = "tcp"

    def __repr__(self) -> str:
        return "SubStream()"


class CameraSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """A camera to run. Without `record` it is only watched live (M7, full except recording).

    `audio` is copied (AAC, G.711), or left out. `by_event`: recorded while an event lasts
    (`Happened`), and from `pre_record_s` before it on.
    """

    id: Id
    url: Annotated[str, Meta(min_length=1, max_length=2000)]
    username: Annotated[str, Meta(max_length=200)] = ""
    password: Annotated[str, Meta(max_length=200)] = ""
    transport: Literal["tcp", "udp"] = "tcp"
    record: bool = True
    audio: Literal["copy", "off"] = "copy"
    sub: SubStream | None = None
    by_event: bool = False
    pre_record_s: Annotated[float, Meta(ge=0, le=60)] = 0.0

    def __repr__(self) -> str:
        # Structs end up in logs and tracebacks; credentials must not, and a URL can hold some (promise P13).
        return f"CameraSpec(id={self.id!r})"


class Apply(msgspec.Struct, frozen=True, tag_field="kind", tag="apply"):
    """Run exactly these cameras in `folder`: new ones start, missing ones stop, the same ones go on.

    `generation` is the agent's own number for this set and comes back in what is reported. `segment_s` is
    the length of a file in seconds; None leaves it as it is.
    """

    folder: Folder
    cameras: Annotated[list[CameraSpec], Meta(max_length=2000)]
    generation: int
    segment_s: Annotated[float, Meta(ge=1, le=3600)] | None = None


class Stop(msgspec.Struct, frozen=True, tag_field="kind", tag="stop"):
    """Stop every camera of `folder`."""

    folder: Folder
    generation: int = 0


class Happened(msgspec.Struct, frozen=True, tag_field="kind", tag="happened"):
    """An event at a camera: one that is recorded by event is recorded for `for_s` from now on."""

    folder: Folder
    camera: Id
    for_s: Annotated[float, Meta(ge=0, le=3600)]


class Shutdown(msgspec.Struct, frozen=True, tag_field="kind", tag="shutdown"):
    """Finish all files and end. The end of stdin and SIGTERM mean the same."""


Command = Apply | Stop | Happened | Shutdown


class Ready(msgspec.Struct, frozen=True, tag_field="kind", tag="ready"):
    """Commands are taken from now on; what a crash had left is being recovered."""

    pid: int
    at_ms: int


class FileRecovered(msgspec.Struct, frozen=True, tag_field="kind", tag="recovered"):
    """A file that a crash had left unfinished. `path` is None when it held no footage and was removed."""

    folder: str
    camera: str
    path: str | None
    start_ms: int
    duration_ms: int
    kept_bytes: int
    cut_bytes: int


class Applied(msgspec.Struct, frozen=True, tag_field="kind", tag="applied"):
    """The set of `folder` is now this. A camera whose address changed is in both `stopped` and `started`."""

    folder: str
    generation: int
    started: list[str]
    stopped: list[str]
    kept: list[str]


class CameraChanged(msgspec.Struct, frozen=True, tag_field="kind", tag="camera"):
    """A camera's state or its reason changed."""

    folder: str
    camera: str
    generation: int
    state: CameraState
    reason: str
    at_ms: int


class FirstKeyFrame(msgspec.Struct, frozen=True, tag_field="kind", tag="first-key-frame"):
    """A camera's first key frame has been handed to the kernel, in `file` (relative to the data folder).

    `file` is None for a live-only camera: then it has been received. `connected_at_ms` is the arrival of
    the first packet. Said again, with the times of then, when a later generation keeps the camera.
    """

    folder: str
    camera: str
    generation: int
    at_ms: int
    connected_at_ms: int
    file: str | None


class SegmentFinished(msgspec.Struct, frozen=True, tag_field="kind", tag="segment"):
    """A file has its final name and is durable. `path` is relative to the data folder."""

    folder: str
    camera: str
    path: str
    start_ms: int
    duration_ms: int
    size: int


class CameraStopped(msgspec.Struct, frozen=True, tag_field="kind", tag="stopped"):
    """A camera's files are closed and have their final names; nothing more will be written for it."""

    folder: str
    camera: str
    generation: int
    at_ms: int


class CameraStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """Counts are since the camera was started; `frames_received` also has those that were not written.
    `bitrate_bps` and `fps` are those of the last second.

    `clock_skew_ms` is the camera's time of a frame less ours of its arrival: its clock is ahead when it is
    positive, while a little behind is the way here. None until the camera has told the time (RTCP).
    """

    folder: str
    camera: str
    generation: int
    state: CameraState
    reason: str = ""
    connected_at_ms: int | None = None
    first_key_frame_at_ms: int | None = None
    last_frame_at_ms: int | None = None
    bytes_written: int = 0
    frames_written: int = 0
    frames_received: int = 0
    bitrate_bps: int = 0
    fps: float = 0.0
    reconnects: int = 0
    last_error: str = ""
    clock_skew_ms: int | None = None


class Status(msgspec.Struct, frozen=True, tag_field="kind", tag="status"):
    """Every camera, once a second and soon after each change."""

    at_ms: int
    cameras: list[CameraStatus]


class Trouble(msgspec.Struct, frozen=True, tag_field="kind", tag="error"):
    """Something went wrong that is not a camera's state: a bad command, a file that cannot be finished."""

    reason: str
    folder: str = ""
    camera: str = ""


Report = (
    Ready
    | FileRecovered
    | Applied
    | CameraChanged
    | FirstKeyFrame
    | SegmentFinished
    | CameraStopped
    | Status
    | Trouble
)

T = TypeVar("T")

_commands: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)
_reports: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)


def encode(message: Command | Report) -> bytes:
    """A message as one line, its line break included."""
    return msgspec.json.encode(message) + b"\n"


def decode_command(line: bytes) -> Command:
    """What the agent said.

    Raises:
        InvalidMessage: no JSON, or not a command; the message names the field and shows none of its values.
    """
    return _decode(_commands, line, "command")


def decode_report(line: bytes) -> Report:
    """What the recorder said.

    Raises:
        InvalidMessage: no JSON, or not a report.
    """
    return _decode(_reports, line, "report")


def _decode(decoder: msgspec.json.Decoder[T], line: bytes, what: str) -> T:
    try:
        message: T = decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidMessage(f"not a {what} of the recorder's protocol: {error}") from None
    return message
