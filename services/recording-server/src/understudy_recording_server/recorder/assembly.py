"""From a connection's packets to frames for its sinks: joined, placed in time, with changes noticed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from av.packet import Packet
from av.stream import Stream

from understudy_recording_server.recorder.codecs.bitstream import SYNTAXES, annex_b, opening
from understudy_recording_server.recorder.codecs.frame_size import decoded_size, told_size
from understudy_recording_server.recorder.frames import Arrived, Frame, Parameters, Streams
from understudy_recording_server.recorder.splits import Joiner
from understudy_recording_server.recorder.timestamps import AudioTimeline, Timeline

USUAL_OPENING_BYTES = 4096
"""What comes before a key frame's first slice usually fits."""
LONGEST_WAIT_S = 2.0
"""Sound goes on without a picture after this."""


class Assembly:
    """One connection. `streams` is what its frames are to be written with, as of the latest ones given."""

    def __init__(self, streams: Streams) -> None:
        self.streams = streams
        codec = streams.video.codec_context
        self._codec = codec.name
        self._syntax = SYNTAXES.get(codec.name)
        self._joiner = Joiner(self._syntax)
        self._timeline = Timeline(streams.video_tick_s)
        self._audio = AudioTimeline(streams.audio_tick_s, self._timeline) if streams.audio else None
        self._sounds: deque[Frame] = deque()
        self._early: deque[Arrived] | None = deque() if streams.audio else None
        """Sound, as long as no picture has told the time."""
        self._sets: tuple[bytes, ...] = ()
        sets = streams.parameters.extradata if streams.parameters is not None else codec.extradata
        if self._syntax is not None and sets:
            self._sets = opening(sets, self._syntax).parameters

    def take(self, arrived: Arrived) -> list[Frame | Streams]:
        """The frames that are whole now. Before a key frame with other parameters than before: the streams
        to begin anew with."""
        if not arrived.is_video:
            return self._sound(arrived)
        if not arrived.is_key and not self._sounds and self._early is None and self._joiner.is_idle:
            # The usual case, in few steps: with many cameras they are what the processor has to do.
            arrival_s = arrived.arrival_s
            placed = self._timeline.place(arrived.dts, arrived.pts, arrival_s)
            return [
                Frame(
                    arrived.packet,
                    True,
                    False,
                    placed.dts,
                    placed.pts,
                    arrival_s,
                    arrived.arrival_ms,
                    placed.jumped,
                )
            ]
        return self._placed(self._joiner.take(arrived))

    def rest(self) -> list[Frame | Streams]:
        """What was held back, at the end."""
        return [*self._placed(self._joiner.rest()), *self._sounds]

    def drop_held(self) -> bool:
        """Forget the picture that is held back; whether there was one."""
        return bool(self._joiner.rest())

    def _placed(self, whole: list[Arrived]) -> list[Frame | Streams]:
        found: list[Frame | Streams] = []
        for one in whole:
            placed = self._timeline.place(one.dts, one.pts, one.arrival_s)
            if self._early is not None and self._timeline.zero_s is not None:
                early, self._early = self._early, None
                for sound in early:
                    self._place_sound(sound)
            if self._sounds:
                found += self._sounds_before(placed.dts * self.streams.video_tick_s)
            if one.is_key and self._changed(one.packet):
                found.append(self.streams)
            found.append(
                Frame(
                    one.packet,
                    True,
                    one.is_key,
                    placed.dts,
                    placed.pts,
                    one.arrival_s,
                    one.arrival_ms,
                    placed.jumped,
                    one.captured_ms,
                )
            )
        return found

    def _sound(self, arrived: Arrived) -> list[Frame | Streams]:
        arrival_s = arrived.arrival_s
        if self._early is not None:
            # Which of it belongs to the first picture is known when that has come, and is whole.
            self._early.append(arrived)
            while arrival_s - self._early[0].arrival_s > LONGEST_WAIT_S:
                self._early.popleft()
            return []
        # Encoders of video are slower: sound waits for its picture, so that each file gets its own sound.
        self._place_sound(arrived)
        if not self._sounds or arrival_s - self._sounds[0].arrival_s <= LONGEST_WAIT_S:
            return []
        return [self._sounds.popleft()]

    def _place_sound(self, arrived: Arrived) -> None:
        dts = self._audio.place(arrived.dts, arrived.arrival_s) if self._audio is not None else None
        if dts is not None:
            frame = Frame(arrived.packet, False, False, dts, dts, arrived.arrival_s, arrived.arrival_ms)
            self._sounds.append(frame)

    def _sounds_before(self, video_s: float) -> Iterator[Frame]:
        while self._sounds and self._sounds[0].dts * self.streams.audio_tick_s < video_s:
            yield self._sounds.popleft()

    def _changed(self, packet: Packet[Stream]) -> bool:
        """Whether this key frame brings other parameter sets than those before."""
        if self._syntax is None:
            return False
        found = opening(bytes(memoryview(packet)[:USUAL_OPENING_BYTES]), self._syntax)
        if found.slice_at is not None and set(found.parameters) <= set(self._sets):
            return False
        data = bytes(packet)
        found = opening(data, self._syntax)
        sets = found.parameters
        if found.slice_at is None or set(sets) <= set(self._sets):
            return False
        # Without the older sets that some servers go on to send before the new ones.
        size = told_size(sets, self._codec)
        if size is None:
            size = decoded_size(annex_b(sets) + data[found.slice_at :], self._codec)
        if size is None:
            return False  # Broken on the way: the next key frame will tell.
        self._sets = sets
        self.streams = replace(self.streams, parameters=Parameters(annex_b(sets), *size))
        return True
