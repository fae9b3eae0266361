"""Why a camera's connection cannot be made, or has ended: in words for people."""

from __future__ import annotations

import errno
import os

from understudy_contracts.model import CameraState

SOCKET_TIMEOUT_S = 4.0
"""A stall is to be known within 5 s, and `Camera.check` comes once a second."""
STALLED = f"stalled: no frame for {SOCKET_TIMEOUT_S:.0f} s"
ENDED = "the camera ended the stream"
NO_VIDEO = "the camera sends no video"
BROKE_OFF = "the camera sent something else than its stream"
NO_PARAMETERS = "the camera has not sent its video parameters yet"

_NO_STREAM = "what {shown} answers is no video stream"
_SILENT = f"no answer from {{shown}} within {SOCKET_TIMEOUT_S:.0f} s"
_ELSEWHERE = "{shown} sends us to another address, or its answer is invalid: no other address is followed"
_BY_STATUS = {
    401: "the camera refused the user name or password",
    403: "the camera forbids this user to see the stream",
    404: "the camera has no stream under this address",
    461: "the camera does not send over this transport: choose the other, TCP or UDP",
}


class SourceProblem(Exception):
    """The connection cannot be made or has ended. The message is for people and holds no credentials."""

    def __init__(self, reason: str, state: CameraState = CameraState.RECONNECTING) -> None:
        super().__init__(reason)
        self.reason = reason
        self.state = state


class ParametersMissing(SourceProblem):
    """The short probe did not find the parameter sets; a long one will."""


def silent(shown: str) -> SourceProblem:
    """`shown`, here and below: the camera's host and port."""
    return SourceProblem(_SILENT.format(shown=shown))


def no_stream(shown: str) -> SourceProblem:
    return SourceProblem(_NO_STREAM.format(shown=shown))


def elsewhere(shown: str) -> SourceProblem:
    return SourceProblem(_ELSEWHERE.format(shown=shown), CameraState.REFUSED)


def refused(status: int) -> SourceProblem:
    """What a camera's status (RFC 2326, 11.3) means."""
    if status >= 500:
        return SourceProblem("the camera reported an error of its own")
    return SourceProblem(_BY_STATUS.get(status, "the camera refused the request"), CameraState.REFUSED)


def failed(error: OSError, shown: str) -> SourceProblem:
    """What the operating system says of the connection."""
    if isinstance(error, TimeoutError):
        return silent(shown)
    if isinstance(error, ConnectionRefusedError):
        return SourceProblem(f"nothing answers at {shown}: connection refused", CameraState.REFUSED)
    known = error.errno is not None and error.errno in errno.errorcode
    told = os.strerror(error.errno or 0) if known else type(error).__name__
    return SourceProblem(f"the connection to {shown} failed: {told}")
