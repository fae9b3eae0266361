"""A camera's streams within an RTSP connection: from RTP packets to what the assembly takes."""

from __future__ import annotations

from fractions import Fraction

from av.packet import Packet
from av.stream import Stream
from understudy_runtime.clock import Clock

from understudy_recording_server.recorder.frames import Arrived
from understudy_recording_server.recorder.sources.choice import Chosen
from understudy_recording_server.rtsp.access_units import AccessUnits, Unsuited
from understudy_recording_server.rtsp.conversation import Channel
from understudy_recording_server.rtsp.rtp import SenderReport, sender_report, signed_step
from understudy_recording_server.rtsp.sound import SoundFrames
from understudy_recording_server.rtsp.wire import Packet as Received

REORDERED = "its pictures come in another order than they are shown"
_WATCHED_FRAMES = 50
_FEWEST_STEPS_BACK = 3
"""So many among the watched frames are no accident: pictures come in another order than they are shown."""
_LONGEST_STEP_BACK_S = 1.0


class _Zero:
    """Where a stream's time begins: at the timestamp that the camera said, else so that the first frame's
    time is its arrival, which puts a connection's streams side by side as well as can be known."""

    def __init__(self, clock_hz: int, began_s: float, rtp_time: int | None) -> None:
        self._clock_hz = clock_hz
        self._began_s = began_s
        self._rtp_time = rtp_time
        self._zero: int | None = None

    def ticks(self, timestamp: int, arrival_s: float) -> int:
        if self._zero is None:
            if self._rtp_time is not None:
                self._zero = timestamp - signed_step(self._rtp_time, timestamp)
            else:
                self._zero = timestamp - round((arrival_s - self._began_s) * self._clock_hz)
        return timestamp - self._zero


class VideoTrack:
    """The picture."""

    def __init__(
        self, codec: str, payload_type: int, clock_hz: int, began_s: float, rtp_time: int | None
    ) -> None:
        self._units = AccessUnits(codec, payload_type)
        self._clock_hz = clock_hz
        self._zero = _Zero(clock_hz, began_s, rtp_time)
        self._report: SenderReport | None = None
        self.has_key = False
        """Whether a key frame has come."""
        self._last = 0
        self._watched = 0
        self._steps_back = 0

    def take(self, packet: bytes, arrival_s: float, arrival_ms: int) -> list[Arrived]:
        """The frames that are whole with this packet.

        Raises:
            Unsuited: its pictures come in another order than they are shown, or in a way that is not read.
            FrameTooLarge: a frame that goes on and on.
        """
        units = self._units.take(packet)
        if not units:
            return []
        found = []
        for unit in units:
            timestamp = unit.timestamp
            self._watch_order(timestamp)
            ticks = self._zero.ticks(timestamp, arrival_s)
            frame: Packet[Stream] = Packet(unit.data)
            captured_ms = None
            if unit.is_key:
                self.has_key = True
                frame.is_keyframe = True
                if self._report is not None:
                    captured_ms = self._report.captured_ms(timestamp, self._clock_hz)
            found.append(Arrived(frame, True, unit.is_key, ticks, ticks, arrival_s, arrival_ms, captured_ms))
        return found

    @property
    def has_packets(self) -> bool:
        """Whether something has come at all."""
        return self._units.has_packets

    @property
    def damaged(self) -> int:
        """Frames that had to be left out because packets of them were missing."""
        return self._units.damaged

    def report(self, packet: bytes) -> None:
        """A packet of the stream's RTCP."""
        self._report = sender_report(packet) or self._report

    def _watch_order(self, timestamp: int) -> None:
        step = timestamp - self._last
        self._last = timestamp
        self._watched += 1
        if -_LONGEST_STEP_BACK_S * self._clock_hz < step < 0:
            self._steps_back += 1
            if self._steps_back >= _FEWEST_STEPS_BACK:
                raise Unsuited(REORDERED)
        if self._watched >= _WATCHED_FRAMES:
            self._watched = self._steps_back = 0


class SoundTrack:
    """The sound."""

    def __init__(self, frames: SoundFrames, clock_hz: int, began_s: float, rtp_time: int | None) -> None:
        self._frames = frames
        self._zero = _Zero(clock_hz, began_s, rtp_time)
        self._time_base = Fraction(1, clock_hz)

    def take(self, packet: bytes, arrival_s: float, arrival_ms: int) -> list[Arrived]:
        """The frames that are whole with this packet."""
        found = []
        for sound in self._frames.take(packet):
            ticks = self._zero.ticks(sound.timestamp, arrival_s)
            frame: Packet[Stream] = Packet(sound.data)
            frame.time_base = self._time_base
            frame.duration = sound.samples
            found.append(Arrived(frame, False, False, ticks, ticks, arrival_s, arrival_ms))
        return found

    def report(self, packet: bytes) -> None:
        """A packet of the stream's RTCP: only the picture's clock counts."""


class Tracks:
    """Packets into frames, by channel."""

    def __init__(self, chosen: Chosen, channels: list[Channel], clock: Clock) -> None:
        self.channels = [channel.number for channel in channels]
        self._clock = clock
        began_s = clock.monotonic()
        # Only together do they tell what belongs together.
        times = [channel.rtp_time for channel in channels]
        media = chosen.video
        self.video = VideoTrack(chosen.codec, media.payload_type, media.clock_hz, began_s, times[0])
        self._tracks: dict[int, VideoTrack | SoundTrack] = {channels[0].number: self.video}
        if chosen.sound is not None and chosen.sounds is not None:
            self._tracks[channels[1].number] = SoundTrack(
                chosen.sounds, chosen.sound.clock_hz, began_s, times[1]
            )

    def take(self, packets: list[Received]) -> list[Arrived]:
        found: list[Arrived] = []
        arrival_s, arrival_ms = self._clock.monotonic(), self._clock.wall_ms()
        tracks = self._tracks
        for channel, packet in packets:
            track = tracks.get(channel)
            if track is not None:
                found += track.take(packet, arrival_s, arrival_ms)
            else:
                of = tracks.get(channel - 1)
                if of is not None:
                    of.report(packet)
        return found
