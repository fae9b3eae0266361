"""A real fragmented MP4 file, as the recorder writes it."""

import io
from fractions import Fraction

import av
import pytest


def fragmented_mp4(frames: int) -> bytes:
    """H.264, 25 frames a second, key frame every 5 frames, one fragment a frame."""
    file = io.BytesIO()
    options = {"movflags": "frag_every_frame+empty_moov+default_base_moof"}
    with av.open(file, "w", format="mp4", options=options) as container:
        stream = container.add_stream(
            "libx264", rate=25, options={"preset": "ultrafast", "tune": "zerolatency"}
        )
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.gop_size = 5
        stream.time_base = Fraction(1, 90000)
        for number in range(frames):
            frame = av.VideoFrame(64, 48, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([number * 7 % 256]) * plane.buffer_size)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


@pytest.fixture(scope="session")
def mp4() -> bytes:
    return fragmented_mp4(frames=20)
