"""One TCP connection's bytes taken apart: packets of media between messages (RFC 2326, 10.12). No I/O."""

from __future__ import annotations

from understudy_recording_server.rtsp.messages import Message, NotRtsp, take_message

_DOLLAR = 0x24
_LINE_ENDS = b"\r\n"
_SEEMING = 5
MOST_PASSED_BY = 1 << 16
"""Bytes of nonsense, less those of packets since."""
_COST_BYTES = 1 << 10

Packet = tuple[int, bytes]
"""Channel, and what came on it."""


class Wire:
    """Takes bytes as they come, however they are cut; gives whole packets and messages."""

    def __init__(self) -> None:
        self._rest = b""
        self.channels: frozenset[int] = frozenset()
        """Those that packets come on, as soon as they do: what is neither packet nor message between them is
        passed by then, for some cameras send such things."""
        self._passed_by = 0
        self._is_lost = False

    def feed(self, data: bytes) -> tuple[list[Packet], list[Message]]:
        """What is whole with these bytes.

        Raises:
            NotRtsp: what came is neither; the wire must not be used again.
        """
        if self._rest:
            data = self._rest + data
        packets: list[Packet] = []
        messages: list[Message] = []
        at, end = 0, len(data)
        while at < end:
            first = data[at]
            if first == _DOLLAR:
                if end - at < (_SEEMING if self._is_lost else 4):
                    break
                if self._is_lost and not self._seems(data, at):
                    at = self._pass_by(data, at)
                    continue
                behind = at + 4 + (data[at + 2] << 8 | data[at + 3])
                if behind > end:
                    break
                packets.append((data[at + 1], data[at + 4 : behind]))
                self._passed_by = max(0, self._passed_by - (behind - at))
                self._is_lost = False
                at = behind
            elif first in _LINE_ENDS:
                at += 1  # Some cameras send an empty line between messages.
            else:
                try:
                    found = take_message(data, at)
                except NotRtsp:
                    at = self._pass_by(data, at)
                    continue
                if found is None:
                    break
                message, at = found
                messages.append(message)
        self._rest = data[at:] if at else data
        return packets, messages

    def _pass_by(self, data: bytes, at: int) -> int:
        """Where a packet may begin behind this: at the next dollar, or at the end. It must then seem one."""
        self._is_lost = True
        dollar = data.find(_DOLLAR, at + 1)
        found = dollar if dollar >= 0 else len(data)
        # Looking costs time, however little is passed by.
        self._passed_by += max(found - at, _COST_BYTES)
        if not self.channels or self._passed_by > MOST_PASSED_BY:
            raise NotRtsp("what came is neither a packet nor an answer")
        return found

    def _seems(self, data: bytes, at: int) -> bool:
        """Whether one of the channels and RTP's version are behind this dollar."""
        return data[at + 1] in self.channels and data[at + 4] & 0xC0 == 0x80
