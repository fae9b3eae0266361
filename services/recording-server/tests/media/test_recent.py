"""What is kept in memory, for any order of frames: never less than was asked for, never without bound."""

from __future__ import annotations

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st
from understudy_recording_server.recorder import recent as module
from understudy_recording_server.recorder.by_event import ByEvent
from understudy_recording_server.recorder.frames import Frame
from understudy_recording_server.recorder.recent import Recent


def frames(keys, gaps, sizes):
    at = 0.0
    for number, (is_key, gap, size) in enumerate(zip(keys, gaps, sizes, strict=True)):
        at += gap
        packet = SimpleNamespace(size=size)
        yield Frame(packet, is_video=True, is_key=is_key, dts=number, pts=number, arrival_s=at, arrival_ms=0)


LENGTH = st.shared(st.integers(0, 60), key="length")


@given(
    keys=LENGTH.flatmap(lambda n: st.lists(st.booleans(), min_size=n, max_size=n)),
    gaps=LENGTH.flatmap(lambda n: st.lists(st.floats(0.01, 3), min_size=n, max_size=n)),
    sizes=LENGTH.flatmap(lambda n: st.lists(st.integers(0, 9 << 20), min_size=n, max_size=n)),
    keep_s=st.sampled_from([0.0, 0.5, 5.0, 60.0]),
)
def test_it_reaches_back_as_far_as_asked_and_no_further(keys, gaps, sizes, keep_s):
    recent = Recent(keep_s)
    seen = []
    for frame in frames(keys, gaps, sizes):
        recent.take(frame)
        seen.append(frame)
        groups = recent.groups(frame.arrival_s)
        held = [one for group in groups for one in group]
        assert all(group and group[0].is_key and not any(one.is_key for one in group[1:]) for group in groups)
        assert held == seen[len(seen) - len(held) :]
        assert sum(one.packet.size for one in held) <= module.LARGEST_BYTES
        assert recent.last_group() == (groups[-1] if groups else [])
        if keep_s == 0:
            assert len(groups) <= 1
        if len(groups) > 1:
            assert groups[1][0].arrival_s > frame.arrival_s - keep_s
        dropped = seen[: len(seen) - len(held)]
        small = sum(one.packet.size + 1000 for one in seen) < module.LARGEST_BYTES
        if small and dropped and any(one.is_key for one in dropped):
            assert held
            assert held[0].arrival_s <= frame.arrival_s - keep_s


class Noted:
    """What would be recorded."""

    def __init__(self):
        self.files = 0
        self.taken = []

    def began(self, _streams):
        self.files += 1

    def take(self, frame):
        self.taken.append(frame)

    def ended(self, *, without_last=False):
        pass


def test_sound_that_comes_behind_the_picture_that_ended_an_event_begins_nothing():
    noted, recent = Noted(), Recent()
    by_event = ByEvent(noted, recent, lambda _: None)
    by_event.began(SimpleNamespace())

    def hand(arrival_s, *, is_video=True):
        packet = SimpleNamespace(size=1)
        frame = Frame(packet, is_video, is_video, 0, 0, arrival_s, 0)
        by_event.take(frame)
        recent.take(frame)

    by_event.happened(2.0)
    hand(1.0)
    hand(2.1)
    hand(1.9, is_video=False)
    hand(2.2)
    assert (noted.files, [frame.arrival_s for frame in noted.taken]) == (1, [1.0])
