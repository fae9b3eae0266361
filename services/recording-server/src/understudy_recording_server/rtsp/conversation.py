"""Asking a camera for its streams, over a blocking socket: from the first request until they come."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

from understudy_recording_server.rtsp.description import Media, control_url, session_of
from understudy_recording_server.rtsp.login import Login
from understudy_recording_server.rtsp.messages import Message, NotRtsp, answer, request
from understudy_recording_server.rtsp.wire import Packet, Wire

DEFAULT_SESSION_S = 60.0
"""RFC 2326, 12.37."""
_CHUNK = 1 << 16
_HIGHEST_CHANNEL = 254
"""The next one is for RTCP, and both are told in a byte."""
_MOST_EARLY_BYTES = 16 << 20
_PACKET_BYTES = 128
"""What a packet takes in memory, besides what is in it."""
_OK = range(200, 300)
_SCHEMES = ("rtsp://", "rtsps://")
_REDIRECTS = range(300, 400)
_UNAUTHORIZED = 401
_CHANNELS = re.compile(r"interleaved=(\d{1,3})", re.IGNORECASE)
_SESSION_S = re.compile(r"timeout\s*=\s*(\d{1,5})", re.IGNORECASE)
_RTP_URL = re.compile(r"url\s*=\s*\"?([^;,\s\"]+)", re.IGNORECASE)
_RTP_TIME = re.compile(r"rtptime=(\d{1,10})", re.IGNORECASE)


class Refused(Exception):
    """The camera answered with another status than success."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status

    @property
    def elsewhere(self) -> bool:
        """Whether it sends us to another address."""
        return self.status in _REDIRECTS


class ConnectionEnded(Exception):
    """The camera closed the connection."""


@dataclass(frozen=True)
class Channel:
    """Where a stream's packets come; its RTCP comes at the next number. `rtp_time` is the timestamp at which
    all of the session's streams began together, where the camera says so."""

    number: int
    rtp_time: int | None = None


class Conversation:
    """One connection to a camera, and what has been agreed there. Every answer is waited for `patience_s` at
    most; what comes of media meanwhile is kept in `early`."""

    def __init__(self, connected: socket.socket, url: str, login: Login, patience_s: float) -> None:
        """`url`: without credentials."""
        self.socket = connected
        connected.settimeout(patience_s)  # Which also keeps writing to its descriptor from blocking.
        self.wire = Wire()
        self.early: list[Packet] = []
        self._early_bytes = 0
        self.session_s = DEFAULT_SESSION_S
        self._url = url
        self._base = url
        self._login = login
        self._patience_s = patience_s
        self._sequence = 0
        self._session = ""
        self._keep_alive = "OPTIONS"
        self._is_repeated = False
        self._setups: list[tuple[str, int]] = []

    def describe(self) -> list[Media]:
        """The streams that the camera describes.

        Raises:
            Refused, ConnectionEnded, NotRtsp, TimeoutError, OSError.
        """
        can = self._ask("OPTIONS", self._url).header("public")
        if "GET_PARAMETER" in can.upper():
            self._keep_alive = "GET_PARAMETER"
        described = self._ask("DESCRIBE", self._url, {"Accept": "application/sdp"})
        self._base = described.header("content-base") or described.header("content-location") or self._url
        control, medias = session_of(described.body.decode("utf-8", "replace"))
        if control.lower().startswith(_SCHEMES):
            self._base = control  # Not relative ones: cameras that have them do not mean it.
        return medias

    def set_up(self, media: Media) -> None:
        """Have a stream sent over this connection; raises as `describe` does."""
        url = control_url(self._base, media.control)
        wanted = 2 * len(self._setups)
        transport = f"RTP/AVP/TCP;unicast;interleaved={wanted}-{wanted + 1}"
        told = self._ask("SETUP", url, {"Transport": transport})
        session = told.header("session")
        self._session = session.partition(";")[0].strip() or self._session
        timeout = _SESSION_S.search(session)
        if timeout is not None and int(timeout[1]):
            self.session_s = float(timeout[1])
        found = _CHANNELS.search(told.header("transport"))
        channel = int(found[1]) if found else wanted
        if channel > _HIGHEST_CHANNEL:
            raise NotRtsp(f"there is no channel {channel}")
        self._setups.append((url, channel))

    def play(self) -> list[Channel]:
        """Begin; where each stream comes, in the order of `set_up`. Raises as `describe` does."""
        self.wire.channels = frozenset(
            number for _, channel in self._setups for number in (channel, channel + 1)
        )
        begun = self._ask("PLAY", self._base, {"Range": "npt=0.000-"})
        told = [part for value in begun.headers.get("rtp-info", []) for part in value.split(",")]
        ordered = self._ordered(told)
        times = [_RTP_TIME.search(part) for part in ordered]
        if len(times) != len(self._setups) or not all(times):
            # Only together do they tell what belongs together.
            return [Channel(number) for _, number in self._setups]
        return [
            Channel(number, int(time[1]) if time else None)
            for (_, number), time in zip(self._setups, times, strict=True)
        ]

    def _ordered(self, told: list[str]) -> list[str]:
        """What RTP-Info says, in the order of `set_up` where its addresses tell that: by their last part,
        for what is before it cameras tell in several ways."""
        found: list[str] = []
        for url, _ in self._setups:
            name = url.rpartition("/")[2]
            found += [part for part in told if (at := _RTP_URL.search(part)) and at[1].endswith(name)]
        return found if sorted(found) == sorted(told) else told

    def receive(self) -> list[Packet]:
        """Wait for the next packets. Raises as `describe` does."""
        if self.early:
            early, self.early = self.early, []
            return early
        packets, messages = self._read(time.monotonic() + self._patience_s)
        self.heard(messages)
        return packets

    def heard(self, messages: list[Message]) -> None:
        """Answer what the camera asks, and take a new challenge for the next request. Does not block."""
        for message in messages:
            if message.method:
                self._say(answer(message))
                continue
            refused = message.status == _UNAUTHORIZED
            if refused and self._login.challenged(message.headers.get("www-authenticate", [])):
                # The keep-alive's proof was too old: once more with a new one.
                if not self._is_repeated:
                    self.keep_alive()
                self._is_repeated = True
            else:
                self._is_repeated = False

    def keep_alive(self) -> None:
        """Show that we are still there. Does not block."""
        self._say(self._request(self._keep_alive, self._base, {}))

    def say(self, channel: int, packet: bytes) -> None:
        """Send a packet of RTCP. Does not block."""
        self._say(b"$" + bytes([channel]) + len(packet).to_bytes(2, "big") + packet)

    def close(self) -> None:
        if self._session:
            self._say(self._request("TEARDOWN", self._base, {}))
        self.socket.close()

    def _say(self, data: bytes) -> None:
        # It is little and there is room for it, unless the camera has stopped reading: then it is of no use.
        # Not by the socket's own method, which waits as long as the socket's time limit allows.
        with contextlib.suppress(OSError):
            os.write(self.socket.fileno(), data)

    def _request(self, method: str, url: str, headers: Mapping[str, str]) -> bytes:
        self._sequence += 1
        session = {"Session": self._session} if self._session else {}
        return request(
            method, url, self._sequence, {**headers, **session, **self._login.headers(method, url)}
        )

    def _ask(self, method: str, url: str, headers: Mapping[str, str] | None = None) -> Message:
        answered = self._exchange(method, url, headers or {})
        if answered.status == _UNAUTHORIZED and self._login.challenged(
            answered.headers.get("www-authenticate", [])
        ):
            answered = self._exchange(method, url, headers or {})
        if answered.status not in _OK:
            raise Refused(answered.status)
        return answered

    def _exchange(self, method: str, url: str, headers: Mapping[str, str]) -> Message:
        until_s = time.monotonic() + self._patience_s
        self.socket.settimeout(self._patience_s)
        earlier = {str(number) for number in range(1, self._sequence + 1)}
        self.socket.sendall(self._request(method, url, headers))
        while True:
            packets, messages = self._read(until_s)
            self._keep(packets)
            for number, message in enumerate(messages):
                # Whatever its number, unless it was another's: some cameras do not give ours back.
                if message.status >= _OK.start and message.header("cseq") not in earlier:
                    self.heard(messages[number + 1 :])
                    return message
                self.heard([message])

    def _keep(self, packets: list[Packet]) -> None:
        self.early += packets
        self._early_bytes += sum(len(packet) + _PACKET_BYTES for _, packet in packets)
        if self._early_bytes > _MOST_EARLY_BYTES:
            raise NotRtsp("media comes instead of an answer")

    def _read(self, until_s: float) -> tuple[list[Packet], list[Message]]:
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self.socket.settimeout(left_s)
        data = self.socket.recv(_CHUNK)
        if not data:
            raise ConnectionEnded
        return self.wire.feed(data)
