"""RTSP's text (RFC 2326): what we ask, what is answered, and what a camera asks us. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

LONGEST_HEAD_BYTES = 16 * 1024
LONGEST_BODY_BYTES = 64 * 1024
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_LINE_END = re.compile(r"\r?\n")
"""Some cameras leave the CR away, which receivers shall take as well (RFC 2326, 4)."""

_STATUS_LINE = re.compile(r"RTSP/[12]\.[0-9] ([1-5][0-9]{2})(?: .*)?\Z")
_REQUEST_LINE = re.compile(r"([A-Z_]{1,32}) \S{1,2048} RTSP/[12]\.[0-9]\Z")
_BEGINNING = re.compile(rb"[A-Z_]{1,32}(?:[ /]|\Z)")
"""Of either, as much as is there."""
_LENGTH = re.compile(r"[0-9]{1,6}\Z")
_SEQUENCE = re.compile(r"[0-9]{1,10}\Z")


class NotRtsp(Exception):
    """What came is no RTSP; the connection cannot go on."""


@dataclass(frozen=True, slots=True)
class Message:
    """An answer (`status` is set) or a request of the camera's own (`method` is)."""

    status: int = 0
    method: str = ""
    headers: Mapping[str, list[str]] = field(default_factory=dict)
    """Names in lower case, with all values of a repeated header."""
    body: bytes = b""

    def header(self, name: str) -> str:
        """The last value of a header, or nothing."""
        return self.headers.get(name, [""])[-1]


def request(method: str, url: str, sequence: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"{method} {url} RTSP/1.0", f"CSeq: {sequence}", "User-Agent: Understudy"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def answer(asked: Message) -> bytes:
    """What cameras that ask whether we are alive want to hear (RFC 2326, 10.1, 10.8)."""
    known = asked.method in {"OPTIONS", "GET_PARAMETER", "SET_PARAMETER", "ANNOUNCE"}
    status = "200 OK" if known else "501 Not Implemented"
    sequence = asked.header("cseq")
    numbered = f"CSeq: {sequence}\r\n" if _SEQUENCE.match(sequence) else ""
    return f"RTSP/1.0 {status}\r\n{numbered}\r\n".encode()


def take_message(data: bytes, at: int) -> tuple[Message, int] | None:
    """The message that begins at `at`, and where it ends; None as long as it is not whole.

    Raises:
        NotRtsp: it is none, or longer than any camera's.
    """
    if not _BEGINNING.match(data, at):
        raise NotRtsp("what came is neither a packet nor an answer")
    head_end = _HEAD_END.search(data, at, at + LONGEST_HEAD_BYTES)
    if head_end is None:
        if len(data) - at >= LONGEST_HEAD_BYTES:
            raise NotRtsp(f"the head of an answer is longer than {LONGEST_HEAD_BYTES} bytes")
        return None
    first, *lines = _LINE_END.split(data[at : head_end.start()].decode("utf-8", "replace"))
    status, method = _STATUS_LINE.match(first), _REQUEST_LINE.match(first)
    if status is None and method is None:
        raise NotRtsp("what came is neither a packet nor an answer")
    headers: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers.setdefault(name.strip().lower(), []).append(value.strip())
    length = headers.get("content-length", ["0"])[-1]
    if not _LENGTH.match(length) or int(length) > LONGEST_BODY_BYTES:
        raise NotRtsp(f"the body of an answer is longer than {LONGEST_BODY_BYTES} bytes")
    body_at = head_end.end()
    end = body_at + int(length)
    if len(data) < end:
        return None
    found = Message(int(status[1]) if status else 0, method[1] if method else "", headers, data[body_at:end])
    return found, end
