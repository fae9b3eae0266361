"""A small recording as the recorder writes it: H.264 at 25 frames a second, one fragment a frame."""

from __future__ import annotations

import io
from fractions import Fraction

import av


def fragmented_mp4(frames: int, *, key_every: int = 5) -> bytes:
    """The content of the file: `frames` pictures of 64 by 48, each of another grey."""
    file = io.BytesIO()
    options = {"movflags": "frag_every_frame+empty_moov+default_base_moof"}
    with av.open(file, "w", format="mp4", options=options) as container:
        encoding = {"preset": "ultrafast", "tune": "zerolatency"}
        stream = container.add_stream("libx264", rate=25, options=encoding)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.gop_size = key_every
        stream.time_base = Fraction(1, 90_000)
        for number in range(frames):
            frame = av.VideoFrame(64, 48, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([number * 7 % 256]) * plane.buffer_size)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()
