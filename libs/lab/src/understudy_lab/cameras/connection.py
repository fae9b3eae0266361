"""A viewer's connection: answers RTSP, and hands the connection to the camera once it plays."""

from __future__ import annotations

import asyncio
import base64
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from typing import cast

from understudy_lab.cameras.camera import Camera, Viewer
from understudy_lab.cameras.clip import Clip
from understudy_lab.cameras.digest import accepts, challenge
from understudy_lab.cameras.rtp import CLOCK_HZ, PAYLOAD_TYPE, RTCP_CHANNEL, RTP_CHANNEL
from understudy_lab.cameras.rtsp import Request, RtspError, RtspParser, response

SESSION_TIMEOUT_S = 60
_METHODS = "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN"
_TRACK = "track0"

_log = logging.getLogger(__name__)

Answer = tuple[int, dict[str, str], bytes]


class ViewerConnection(asyncio.Protocol):
    """One TCP connection. It speaks to one camera, the one that its first request names."""

    def __init__(self, cameras: Mapping[str, Camera], clip: Clip, open_ones: set[ViewerConnection]) -> None:
        self._cameras = cameras
        self._clip = clip
        self._open_ones = open_ones
        self._parser = RtspParser()
        self._nonce = secrets.token_hex(16)
        self._session = ""
        self._camera: Camera | None = None
        self._viewer: Viewer | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._open_ones.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open_ones.discard(self)
        self._stop_playing()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None  # noqa: S101 - set before data can come
        try:
            requests = self._parser.feed(data)
        except RtspError as error:
            _log.info("a viewer does not speak RTSP: %s", error)
            self._transport.write(response(400, None, {"Connection": "close"}))
            self._transport.close()
            return
        for request in requests:
            if self._transport.is_closing():
                return
            self._handle(self._transport, request)

    def _handle(self, transport: asyncio.Transport, request: Request) -> None:
        camera = self._cameras.get(request.path[0]) if request.path else self._camera
        if camera is None and request.method != "OPTIONS":
            transport.write(response(404, request, {}))
            return
        fault = camera.fault if camera else "none"
        if fault == "silent":
            return
        if fault == "refuse-close":
            transport.abort()
            return
        if fault == "refuse-503":
            transport.write(response(503, request, {}))
            return
        if camera is not None:
            if self._camera not in {None, camera}:  # a session is for one camera
                transport.write(response(455, request, {}))
                return
            refused = fault == "refuse-401" or not self._may(camera, request)
            if refused:
                transport.write(response(401, request, {"WWW-Authenticate": challenge(self._nonce)}))
                return
            self._camera = camera
        status, headers, body = self._answer(camera, request)
        transport.write(response(status, request, headers, body))
        if status == 200 and camera is not None and request.method == "PLAY" and self._viewer is None:
            self._viewer = Viewer(transport)
            camera.join(self._viewer, time.time())
        if status == 200 and request.method == "TEARDOWN":
            transport.close()

    def _may(self, camera: Camera, request: Request) -> bool:
        if camera.login is None or request.method == "OPTIONS":
            return True
        proof = request.headers.get("authorization", "")
        return accepts(camera.login, self._nonce, request.method, request.url, proof)

    def _answer(self, camera: Camera | None, request: Request) -> Answer:
        answers: dict[str, Callable[[Request], Answer]] = {
            "OPTIONS": lambda _: (200, {"Public": _METHODS}, b""),
            "DESCRIBE": self._describe,
            "SETUP": self._set_up,
            "PLAY": self._in_session,
            "GET_PARAMETER": lambda _: (200, self._session_header(), b""),
            "TEARDOWN": self._in_session,
        }
        answer = answers.get(request.method)
        if answer is None:
            return 405, {"Allow": _METHODS}, b""
        return answer(request)

    def _describe(self, request: Request) -> Answer:
        base = request.url.rstrip("/") + "/"
        return 200, {"Content-Base": base, "Content-Type": "application/sdp"}, sdp(self._clip)

    def _set_up(self, request: Request) -> Answer:
        if request.path[-1:] != [_TRACK]:
            return 404, {}, b""
        if self._viewer is not None:
            return 455, {}, b""
        if "RTP/AVP/TCP" not in request.headers.get("transport", "").upper():
            return 461, {}, b""
        self._session = self._session or secrets.token_hex(8)
        # Whatever channels the viewer proposes, all get the same: the bytes are shared by all viewers.
        channels = f"interleaved={RTP_CHANNEL}-{RTCP_CHANNEL}"
        return 200, {"Transport": f"RTP/AVP/TCP;unicast;{channels}", **self._session_header()}, b""

    def _in_session(self, request: Request) -> Answer:
        if not self._session:
            return 455, {}, b""
        if request.headers.get("session", "").partition(";")[0].strip() != self._session:
            return 454, {}, b""
        if request.method == "TEARDOWN":
            self._stop_playing()
            return 200, {"Session": self._session}, b""
        return 200, {**self._session_header(), "Range": "npt=now-"}, b""

    def _session_header(self) -> dict[str, str]:
        return {"Session": f"{self._session};timeout={SESSION_TIMEOUT_S}"} if self._session else {}

    def _stop_playing(self) -> None:
        if self._viewer is not None and self._camera is not None:
            self._camera.leave(self._viewer)
            self._viewer = None


def sdp(clip: Clip) -> bytes:
    """The description of a stream (RFC 4566, RFC 6184 section 8)."""
    sets = ",".join(base64.b64encode(nal).decode() for nal in (clip.sps, clip.pps))
    profile = clip.sps[1:4].hex()
    lines = [
        "v=0",
        "o=- 0 0 IN IP4 127.0.0.1",
        "s=understudy simulated camera",
        "c=IN IP4 0.0.0.0",
        "t=0 0",
        "a=control:*",
        "a=range:npt=now-",
        f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
        f"a=rtpmap:{PAYLOAD_TYPE} H264/{CLOCK_HZ}",
        f"a=fmtp:{PAYLOAD_TYPE} packetization-mode=1;profile-level-id={profile};sprop-parameter-sets={sets}",
        f"a=control:{_TRACK}",
        "",
    ]
    return "\r\n".join(lines).encode()
