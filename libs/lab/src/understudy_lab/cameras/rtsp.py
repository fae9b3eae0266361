"""RTSP as it is spoken on the wire (RFC 2326): requests in, responses out. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 64 * 1024

_DOLLAR = 0x24
_HEAD_END = b"\r\n\r\n"
_REQUEST_LINE = re.compile(r"([A-Z_]{1,32}) (\S{1,2048}) RTSP/1\.[0-9]\Z")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}\Z")
_LENGTH = re.compile(r"[0-9]{1,9}\Z")

_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    461: "Unsupported Transport",
    503: "Service Unavailable",
}


class RtspError(Exception):
    """What came is no RTSP; the connection cannot go on."""


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case; of a repeated header the last counts."""
    body: bytes = b""

    @property
    def path(self) -> list[str]:
        """The path's parts, decoded; empty for `*`, or for a URL that makes no sense."""
        try:
            return [unquote(part) for part in urlsplit(self.url).path.split("/") if part not in {"", "*"}]
        except ValueError:
            return []


class RtspParser:
    """Takes bytes as they come; gives whole requests, and drops interleaved packets (RTCP of the viewer)."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Request]:
        """The requests that are complete with these bytes.

        Raises RtspError, after which the parser must not be used again.
        """
        self._buffer += data
        requests = []
        while self._buffer:
            if self._buffer[0] == _DOLLAR:
                if not self._skip_packet():
                    break
            else:
                # Some clients send an empty line between requests.
                if self._buffer[0] in b"\r\n":
                    del self._buffer[0]
                    continue
                request = self._take_request()
                if request is None:
                    break
                requests.append(request)
        return requests

    def _skip_packet(self) -> bool:
        if len(self._buffer) < 4:
            return False
        size = 4 + int.from_bytes(self._buffer[2:4], "big")
        if len(self._buffer) < size:
            return False
        del self._buffer[:size]
        return True

    def _take_request(self) -> Request | None:
        end = self._buffer.find(_HEAD_END)
        if end < 0 or end > MAX_HEAD_BYTES:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise RtspError(f"the head of a request is longer than {MAX_HEAD_BYTES} bytes")
            return None
        method, url, headers = _parse_head(bytes(self._buffer[:end]))
        length = headers.get("content-length", "0")
        if not _LENGTH.match(length) or int(length) > MAX_BODY_BYTES:
            raise RtspError(f"Content-Length must be 0 to {MAX_BODY_BYTES}")
        body_at = end + len(_HEAD_END)
        body_end = body_at + int(length)
        if len(self._buffer) < body_end:
            return None
        body = bytes(self._buffer[body_at:body_end])
        del self._buffer[:body_end]
        return Request(method, url, headers, body)


def _parse_head(head: bytes) -> tuple[str, str, dict[str, str]]:
    try:
        first, *lines = head.decode().split("\r\n")
    except UnicodeDecodeError as error:
        raise RtspError("the head of a request is not UTF-8") from error
    start = _REQUEST_LINE.match(first)
    if start is None:
        raise RtspError("the first line is not `METHOD url RTSP/1.0`")
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _HEADER_NAME.match(name):
            raise RtspError("a header line is not `Name: value`")
        headers[name.lower()] = value.strip()
    return start[1], start[2], headers


def response(status: int, request: Request | None, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """An answer with the request's CSeq."""
    lines = [f"RTSP/1.0 {status} {_REASONS[status]}"]
    sequence = request.headers.get("cseq", "") if request else ""
    if _LENGTH.match(sequence):
        lines.append(f"CSeq: {sequence}")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body
