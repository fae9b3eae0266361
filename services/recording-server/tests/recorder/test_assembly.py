"""Sound and its pictures, in whatever order they come."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from av.packet import Packet
from hypothesis import given
from hypothesis import strategies as st
from understudy_recording_server.recorder.assembly import LONGEST_WAIT_S, Assembly
from understudy_recording_server.recorder.codecs.bitstream import annex_b
from understudy_recording_server.recorder.frames import Arrived, Frame, Streams

MS = 0.001
KEY, NEXT = annex_b((b"\x65\x88\x11",)), annex_b((b"\x41\x9a\x33",))


def assembly_of(codec: str, video_tick_s: float = MS, audio_tick_s: float = MS) -> Assembly:
    video: Any = SimpleNamespace(codec_context=SimpleNamespace(name=codec, extradata=b""))
    sound: Any = SimpleNamespace()
    return Assembly(Streams(video, sound, video_tick_s, audio_tick_s))


def picture(ms: int | None, came_ms: int, *, key: bool = False) -> Arrived:
    return Arrived(Packet(KEY if key else NEXT), True, key, ms, ms, came_ms * MS, came_ms)


def sound(ms: int, came_ms: int) -> Arrived:
    return Arrived(Packet(b"sound"), False, False, ms, ms, came_ms * MS, came_ms)


def times(assembly: Assembly, *arrived: Arrived) -> tuple[list[int], list[int]]:
    """Of the pictures and of the sound that come out."""
    found = [one for each in arrived for one in assembly.take(each)] + assembly.rest()
    frames = [one for one in found if isinstance(one, Frame)]
    return [one.dts for one in frames if one.is_video], [one.dts for one in frames if not one.is_video]


@pytest.mark.parametrize("codec", ["h264", "mjpeg"])
def test_the_first_picture_has_its_sound_however_late_it_comes_and_the_next_one(codec):
    # A picture may be held back until the next shows that it is whole.
    arrived = [
        sound(480, 1000),
        sound(500, 1020),
        sound(520, 1040),
        picture(500, 1200, key=True),
        *(sound(ms, 700 + ms) for ms in range(540, 900, 20)),
        picture(900, 1620),
    ]
    assert times(assembly_of(codec), *arrived) == ([0, 400], list(range(0, 400, 20)))


@pytest.mark.parametrize("codec", ["h264", "mjpeg"])
def test_also_when_the_first_picture_does_not_tell_its_time(codec):
    arrived = [
        sound(480, 1000),
        sound(500, 1020),
        picture(None, 1200, key=True),
        sound(520, 1220),
        picture(540, 1240),
        sound(540, 1240),
        sound(560, 1260),
        picture(580, 1280),
    ]
    assert times(assembly_of(codec), *arrived) == ([0, 40, 80], [0, 20, 40, 60])


def test_of_sound_without_a_picture_only_the_last_is_kept():
    assembly = assembly_of("h264")
    assert times(assembly, *(sound(ms, ms) for ms in range(1000, 11_000, 20))) == ([], [])
    assert assembly._early is not None
    assert len(assembly._early) == LONGEST_WAIT_S * 50 + 1
    assert times(assembly, picture(9500, 11_000, key=True)) == ([0], list(range(0, 1500, 20)))


PICTURE_S, SOUND_S = 1 / 25, 1024 / 44_100
VIDEO_HZ, SOUND_HZ = 90_000, 44_100


def sent(times: list[float], hz: int, delay_s: float, *, is_video: bool) -> list[Arrived]:
    found = []
    for number, time_s in enumerate(times):
        ticks = round(time_s * hz)
        is_key = is_video and number == 0
        found.append(Arrived(Packet(b"x"), is_video, is_key, ticks, ticks, 100.0 + time_s + delay_s, 0))
    return found


@given(
    picture_delay_s=st.floats(0, 1.5),
    sound_delay_s=st.floats(0, 1.5),
    sound_begins_s=st.floats(0, 0.9),
    began_s=st.floats(0, 1000),
)
def test_all_sound_since_the_first_picture_is_there_at_its_time(
    picture_delay_s: float, sound_delay_s: float, sound_begins_s: float, began_s: float
) -> None:
    pictures = [began_s + 1 + number * PICTURE_S for number in range(100)]
    sounds = [began_s + 1 - sound_begins_s + number * SOUND_S for number in range(150)]
    arrived = sorted(
        sent(pictures, VIDEO_HZ, picture_delay_s, is_video=True)
        + sent(sounds, SOUND_HZ, sound_delay_s, is_video=False),
        key=lambda one: one.arrival_s,
    )
    assembly = assembly_of("mjpeg", 1 / VIDEO_HZ, 1 / SOUND_HZ)
    found = [one for each in arrived for one in assembly.take(each)] + assembly.rest()
    frames = [one for one in found if isinstance(one, Frame)]
    heard = [frame.dts / SOUND_HZ for frame in frames if not frame.is_video]
    tick_s = 1.5 / SOUND_HZ
    expected = [time_s - pictures[0] for time_s in sounds if time_s >= pictures[0] + tick_s]
    assert len(frames) - len(heard) == 100
    # One more may be on the very time of the first picture.
    assert len(heard) - len(expected) in {0, 1}
    for found_s, expected_s in zip(reversed(heard), reversed(expected), strict=False):
        assert abs(found_s - expected_s) < tick_s + 1 / VIDEO_HZ
    if sound_delay_s < picture_delay_s:
        seen_s = 0.0
        for frame in frames:
            if frame.is_video:
                seen_s = frame.dts / VIDEO_HZ
            else:
                # In the file of its own picture, also where a file is cut.
                assert frame.dts / SOUND_HZ >= seen_s - PICTURE_S - tick_s
