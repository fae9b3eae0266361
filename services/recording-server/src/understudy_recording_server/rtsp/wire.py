"""One TCP connection's bytes taken apart: packets of media between messages (RFC 2326, 10.12). No I/O."""

from __future__ import annotations

from understudy_recording_server.rtsp.messages import Message, take_message

_DOLLAR = 0x24
_LINE_ENDS = b"\r\n"

Packet = tuple[int, bytes]
"""Channel, and what came on it."""


class Wire:
    """Takes bytes as they come, however they are cut; gives whole packets and messages."""

    def __init__(self) -> None:
        self._rest = b""

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
                if end - at < 4:
                    break
                behind = at + 4 + (data[at + 2] << 8 | data[at + 3])
                if behind > end:
                    break
                packets.append((data[at + 1], data[at + 4 : behind]))
                at = behind
            elif first in _LINE_ENDS:
                at += 1  # Some cameras send an empty line between messages.
            else:
                found = take_message(data, at)
                if found is None:
                    break
                message, at = found
                messages.append(message)
        self._rest = data[at:] if at else data
        return packets, messages
