"""`python -m understudy_recording_server.media.jpeg_worker`: turns key frames into JPEG.

A process of its own, because it decodes what came from outside: a decoder that falls must not take the agent
or the recorder with it. On stdin: the length (4 bytes), and the head and one key frame of an MP4. On stdout:
0 or 1 (one byte), the length, and the picture or the reason why there is none.
"""

from __future__ import annotations

import ctypes
import io
import os
import signal
import struct
import sys
from fractions import Fraction
from typing import BinaryIO

import av
import av.error
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

LENGTH = struct.Struct(">I")
ANSWER = struct.Struct(">BI")
LARGEST_PIXELS = 64_000_000
_PR_SET_PDEATHSIG = 1
_QUALITY = "3"
"""Of mjpeg's scale from 2 (best) to 31."""


def picture_of(mp4: bytes) -> bytes:
    """The first frame as JPEG.

    Raises:
        ValueError: there is none.
        FFmpegError: it cannot be decoded.
    """
    with av.open(io.BytesIO(mp4), "r", format="mp4") as container:
        stream = container.streams.video[0]
        if stream.codec_context.width * stream.codec_context.height > LARGEST_PIXELS:
            raise ValueError("the picture is too large")
        stream.thread_type = "NONE"  # Threads would hold the frame back.
        frame = next(iter(container.decode(stream)), None)
    if frame is None:
        raise ValueError("there is no picture in it")
    return _encoded(frame)


def _encoded(frame: VideoFrame) -> bytes:
    frame = frame.reformat(format="yuvj420p")
    encoder = av.CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, VideoCodecContext)  # noqa: S101 - for the type checker
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "yuvj420p"
    encoder.time_base = frame.time_base = Fraction(1, 25)
    encoder.options = {"qmin": _QUALITY, "qmax": _QUALITY}
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def serve(asked: BinaryIO, answers: BinaryIO) -> None:
    """Answer until nobody asks any more."""
    while len(length := asked.read(LENGTH.size)) == LENGTH.size:
        mp4 = asked.read(LENGTH.unpack(length)[0])
        try:
            failed, body = 0, picture_of(mp4)
        except (av.error.FFmpegError, ValueError, IndexError) as error:
            foreign = isinstance(error, av.error.FFmpegError)
            failed, body = 1, (type(error).__name__ if foreign else str(error)).encode()
        answers.write(ANSWER.pack(failed, len(body)) + body)
        answers.flush()


def main() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # Whatever a library prints must not end up among the pictures.
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(sys.stdin.buffer, output)


if __name__ == "__main__":
    main()
