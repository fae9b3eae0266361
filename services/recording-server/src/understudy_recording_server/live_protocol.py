"""How the recorder hands live video to its agent: a socket for each camera that somebody watches, none for
the others. The agent makes a pair of sockets and passes one end along with the request.

On it come frames of `HEADER` and a body. Everything is bounded: who does not read is cut off.
"""

from __future__ import annotations

import struct
from typing import Literal

import msgspec
from understudy_contracts.ids import Id

StreamName = Literal["main", "sub"]
"""What is recorded, or the same picture in small."""

HEADER = struct.Struct(">cBIq")
"""What it is, whether it begins with a key frame, the body's length, and the UTC time of arrival in ms."""

INIT = b"I"
"""The head of a fragmented MP4: a connection begins, and times begin at 0."""
FRAGMENT = b"F"
"""One frame: `moof` and `mdat`."""
PAUSE = b"P"
"""The connection to the camera is over; another may begin."""
REFUSED = b"R"
"""The camera cannot be watched here; the body says why. Nothing follows."""

LARGEST_BODY = 32 << 20


class WatchRequest(msgspec.Struct, frozen=True):
    """Watch a camera of a folder, over the socket that comes with this."""

    folder: str
    camera: Id
    stream: StreamName = "main"
