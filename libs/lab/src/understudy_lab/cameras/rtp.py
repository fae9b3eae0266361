"""Frames as RTP packets in RTSP's interleaved form, made as cheaply as Python can.

RFC 6184 (H.264 payload: single NAL units and FU-A), RFC 3550 (RTP, RTCP), RFC 2326, 10.12 (interleaving).
Everything that does not change from loop to loop is laid out beforehand; per frame and camera only sequence
number, timestamp and SSRC are written into a copy.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from understudy_lab.cameras.clip import Clip, ClipFrame

CLOCK_HZ = 90_000
PAYLOAD_TYPE = 96
RTP_CHANNEL = 0
RTCP_CHANNEL = 1

_PAYLOAD_MAX = 1388
"""Bytes of RTP payload a packet: with RTP, TCP and IP headers it fits an Ethernet frame."""
_MARKER = 0x80
_FU_A = 28
_FU_START = 0x80
_FU_END = 0x40
_REFERENCE_BITS = 0x60
_TYPE_BITS = 0x1F
_NTP_EPOCH_S = 2_208_988_800
"""Seconds from 1900 to 1970 (RFC 868)."""

_HEADER = struct.Struct(">BBHBBHII")  # '$', channel, length; version, marker and type, sequence, time, SSRC
_PATCH = struct.Struct(">HII")  # sequence, timestamp, SSRC
_PATCH_AT = 6
_REPORT = struct.Struct(">BBHBBHIQIII")
INTERLEAVED_HEADER = 4


@dataclass(frozen=True, slots=True)
class Block:
    """A run of packets with empty fields for sequence number, timestamp and SSRC."""

    template: bytes
    offsets: tuple[int, ...]
    """Where in the template those fields begin, one a packet."""

    def filled(self, sequence: int, timestamp: int, ssrc: int) -> bytearray:
        """A copy with the fields filled; `sequence` is the first packet's."""
        packets = bytearray(self.template)
        patch = _PATCH.pack_into
        for offset in self.offsets:
            patch(packets, offset, sequence & 0xFFFF, timestamp, ssrc)
            sequence += 1
        return packets


@dataclass(frozen=True, slots=True)
class FramePackets:
    """A frame of the clip: what goes before its mark (a key frame's parameter sets) and what behind it."""

    is_key: bool
    before: Block
    behind: Block
    sequence: int
    """How many packets lie before this frame in the clip."""
    packet_count: int
    """With the one packet of the mark."""


@dataclass(frozen=True, slots=True)
class PacketizedClip:
    frames: tuple[FramePackets, ...]
    packet_count: int


def packetize(clip: Clip) -> PacketizedClip:
    """The whole clip as templates, shared by all cameras."""
    frames = []
    sequence = 0
    for frame in clip.frames:
        packets = _frame_packets(clip, frame, sequence)
        frames.append(packets)
        sequence += packets.packet_count
    return PacketizedClip(tuple(frames), sequence)


def mark_packet(nal: bytes, sequence: int, timestamp: int, ssrc: int) -> bytes:
    """The SEI's packet: a single NAL unit."""
    header = _HEADER.pack(
        0x24, RTP_CHANNEL, 12 + len(nal), 0x80, PAYLOAD_TYPE, sequence & 0xFFFF, timestamp, ssrc
    )
    return header + nal


def sender_report(utc_s: float, timestamp: int, ssrc: int, packets: int, octets: int) -> bytes:
    """An RTCP sender report (RFC 3550, 6.4.1), interleaved: it ties RTP time to the wall clock."""
    ntp = int((utc_s + _NTP_EPOCH_S) * (1 << 32)) & 0xFFFF_FFFF_FFFF_FFFF
    return _REPORT.pack(
        *(0x24, RTCP_CHANNEL, 28, 0x80, 200, 6),
        *(ssrc, ntp, timestamp, packets & 0xFFFF_FFFF, octets & 0xFFFF_FFFF),
    )


def _frame_packets(clip: Clip, frame: ClipFrame, sequence: int) -> FramePackets:
    before = [clip.sps, clip.pps] if frame.is_key else []
    behind = [payload for nal in frame.slices for payload in fragments(nal)]
    return FramePackets(
        frame.is_key,
        _block(before, ends_frame=False),
        _block(behind, ends_frame=True),
        sequence,
        len(before) + 1 + len(behind),
    )


def _block(payloads: list[bytes], *, ends_frame: bool) -> Block:
    template = bytearray()
    offsets = []
    for index, payload in enumerate(payloads):
        last = ends_frame and index == len(payloads) - 1
        kind = PAYLOAD_TYPE | (_MARKER if last else 0)
        offsets.append(len(template) + _PATCH_AT)
        template += _HEADER.pack(0x24, RTP_CHANNEL, 12 + len(payload), 0x80, kind, 0, 0, 0) + payload
    return Block(bytes(template), tuple(offsets))


def fragments(nal: bytes) -> list[bytes]:
    """A NAL unit as RTP payloads: itself if it fits, else FU-A fragments (RFC 6184, 5.6 and 5.8)."""
    if len(nal) <= _PAYLOAD_MAX:
        return [nal]
    indicator = (nal[0] & _REFERENCE_BITS) | _FU_A
    kind = nal[0] & _TYPE_BITS
    size = _PAYLOAD_MAX - 2
    parts = [nal[at : at + size] for at in range(1, len(nal), size)]
    last = len(parts) - 1
    return [
        bytes([indicator, kind | (_FU_START if at == 0 else 0) | (_FU_END if at == last else 0)]) + part
        for at, part in enumerate(parts)
    ]
