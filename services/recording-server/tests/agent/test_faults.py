"""The bus goes away, limits hold: recording does not depend on any of it (promise P9)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from understudy_contracts.machine import OwnCameras
from understudy_contracts.model import CameraState
from understudy_lab.frames import find_gaps, read_frames
from understudy_recording_server.restoring.rate_limit import Bucket

FPS = 25


async def test_recording_goes_on_without_the_bus(site, cameras, cable, wait_for):
    site.nats_url = f"nats://127.0.0.1:{cable.port}"
    agent = await site.recording_server("north", cameras, ["cam-1", "cam-2"])
    before = await site.beat(agent, lambda beat: all(c.first_key_frame_at for c in beat.cameras))
    await cable.pull_out()
    count = len(agent.files("recordings"))
    await wait_for(lambda: len(agent.files("recordings")) >= count + 4)
    heard = []
    site.on_beat = heard.append
    await cable.plug_in()
    after = await site.beat(agent, lambda beat: beat.sequence > before.sequence)
    assert after.boot == before.boot
    assert isinstance(after.duty, OwnCameras)
    assert [camera.state for camera in after.cameras] == [CameraState.RECORDING] * 2
    # What was not sent is not sent afterwards: no message is older than the connection.
    await site.beat(agent, lambda beat: beat.sequence > after.sequence + 2)
    assert all(later.sequence >= after.sequence for later in heard)
    assert heard[-1].sent_at - heard[0].sent_at < 3000
    await agent.end()
    frames = [frame for file in agent.files("recordings") for frame in read_frames(file)]
    assert find_gaps(frames, FPS) == {"cam-1": [], "cam-2": []}


@given(
    takes=st.lists(st.tuples(st.integers(1, 1000), st.floats(0, 3)), min_size=1, max_size=50),
    rate=st.integers(100, 10_000),
)
def test_no_more_passes_than_the_rate(takes, rate):
    now, passed = 0.0, 0
    bucket = Bucket(now)
    for count, pause in takes:
        now += pause
        now += bucket.take(count, rate, now)
        # What was taken before this moment, at least, has had its time.
        assert passed <= rate * now + 1e-6
        passed += count
    assert bucket.take(10**9, None, now) == 0.0
