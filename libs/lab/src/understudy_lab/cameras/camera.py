"""One simulated camera: its frames, its viewers, its faults."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from understudy_lab.cameras.digest import Login
from understudy_lab.cameras.rtp import CLOCK_HZ, FramePackets, PacketizedClip, mark_packet, sender_report
from understudy_lab.marks import Mark, mark_nal

Fault = Literal["none", "refuse-503", "refuse-401", "refuse-close", "silent", "stall"]
"""What is wrong with a camera.

`refuse-...`: requests are answered with that status, or by closing; who is watching already goes on.
`silent`: connections are accepted and nothing is ever answered; who is watching gets nothing more either.
`stall`: requests are answered, but no frames are sent, to anybody. Frames taken meanwhile are lost.
"""
FAULTS: tuple[Fault, ...] = get_args(Fault)

REPORT_EVERY_S = 5.0

_log = logging.getLogger(__name__)


class Outlet(Protocol):
    """Where a viewer's bytes go: an asyncio transport."""

    def write(self, data: bytes, /) -> None: ...
    def get_write_buffer_size(self) -> int: ...
    def abort(self) -> None: ...


@dataclass(slots=True, eq=False)
class Viewer:
    outlet: Outlet
    packets: int = 0
    octets: int = 0
    next_report_s: float = 0.0
    awaits_key_frame: bool = False


@dataclass(frozen=True, slots=True)
class _Taken:
    """A frame of the current group of pictures, for viewers that start with its key frame."""

    number: int
    captured_s: float


class Camera:
    """Takes frame after frame, whether anybody watches or not, and hands each to its viewers."""

    def __init__(
        self,
        camera_id: str,
        clip: PacketizedClip,
        *,
        phase: int,
        ssrc: int,
        login: Login | None,
        start_with_key_frame: bool,
        viewer_buffer_bytes: int,
    ) -> None:
        self.id = camera_id
        self.login = login
        self.ssrc = ssrc
        self.next_number = 0
        """The number of the frame that will be taken next."""
        self.fault: Fault = "none"
        self.viewers: list[Viewer] = []
        self._clip = clip
        self._phase = phase
        self._start_with_key_frame = start_with_key_frame
        self._viewer_buffer_bytes = viewer_buffer_bytes
        self._group: list[_Taken] = []

    @property
    def sends_frames(self) -> bool:
        return self.fault not in {"silent", "stall"}

    def set_fault(self, fault: Fault) -> None:
        """Raises ValueError for a word that is no fault."""
        if fault not in FAULTS:
            raise ValueError(f"{fault!r} is no fault; there are {', '.join(FAULTS)}")
        self.fault = fault

    def drop_viewers(self) -> int:
        """Close all viewers' connections at once; gives how many."""
        dropped, self.viewers = self.viewers, []
        for viewer in dropped:
            viewer.outlet.abort()
        return len(dropped)

    def take_frame(self, captured_s: float) -> None:
        """Take the next frame, at this UTC time, and send it to all viewers as the same bytes."""
        number = self.next_number
        self.next_number = number + 1
        if self._start_with_key_frame:
            is_key = self._frame_at(number).is_key
            if is_key:
                self._group.clear()
            if is_key or self._group:
                self._group.append(_Taken(number, captured_s))
        if not self.viewers or not self.sends_frames:
            return
        data, packets = self._packets_of(number, captured_s)
        is_key = self._frame_at(number).is_key
        for viewer in self.viewers.copy():
            viewer.awaits_key_frame = viewer.awaits_key_frame and not is_key
            if not viewer.awaits_key_frame:
                self._send(viewer, data, packets, captured_s)

    def join(self, viewer: Viewer, now_s: float) -> None:
        """Send to this viewer from now on: from the next frame, or from the current group's key frame."""
        self.viewers.append(viewer)
        if not self.sends_frames or not self._group:
            viewer.awaits_key_frame = self._start_with_key_frame
            return
        for taken in self._group:
            data, packets = self._packets_of(taken.number, taken.captured_s)
            self._send(viewer, data, packets, now_s)

    def leave(self, viewer: Viewer) -> None:
        if viewer in self.viewers:
            self.viewers.remove(viewer)

    def _send(self, viewer: Viewer, data: bytes, packets: int, now_s: float) -> None:
        outlet = viewer.outlet
        if outlet.get_write_buffer_size() + len(data) > self._viewer_buffer_bytes:
            _log.warning("camera %s drops a viewer that does not keep up", self.id)
            self.leave(viewer)
            outlet.abort()
            return
        if now_s >= viewer.next_report_s:
            viewer.next_report_s = now_s + REPORT_EVERY_S
            time = rtp_time(now_s)
            outlet.write(sender_report(now_s, time, self.ssrc, viewer.packets, viewer.octets))
        outlet.write(data)
        viewer.packets += packets
        viewer.octets += len(data) - 16 * packets

    def _frame_at(self, number: int) -> FramePackets:
        return self._clip.frames[(number + self._phase) % len(self._clip.frames)]

    def _packets_of(self, number: int, captured_s: float) -> tuple[bytes, int]:
        """The frame on the wire, and of how many packets it is.

        A pure function of number and time, so that a frame can be made again for a viewer that comes later.
        """
        loops, position = divmod(number + self._phase, len(self._clip.frames))
        frame = self._clip.frames[position]
        sequence = loops * self._clip.packet_count + frame.sequence
        time = rtp_time(captured_s)
        nal = mark_nal(Mark(self.id, number, round(captured_s * 1000)))
        before = frame.before.filled(sequence, time, self.ssrc)
        sequence += len(frame.before.offsets)
        mark = mark_packet(nal, sequence, time, self.ssrc)
        behind = frame.behind.filled(sequence + 1, time, self.ssrc)
        return b"".join((before, mark, behind)), frame.packet_count


def rtp_time(utc_s: float) -> int:
    """RTP time, simply the wall clock in 90 kHz: it grows evenly with the frames, and wraps every 13 h."""
    return round(utc_s * CLOCK_HZ) & 0xFFFF_FFFF
