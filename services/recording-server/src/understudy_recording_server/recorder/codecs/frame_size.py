"""How large a stream's pictures are: by its parameter sets, else by a decoder that looks at a key frame."""

from __future__ import annotations

import io

import av
import av.error

from understudy_recording_server.recorder.codecs.bitstream import SYNTAXES
from understudy_recording_server.recorder.codecs.picture_size import Size, picture_size


def told_size(sets: tuple[bytes, ...], codec: str) -> Size | None:
    """What the parameter sets say. None if a kind of them is missing, or if only the slice can tell which of
    them it means: then a decoder has to look at it."""
    syntax = SYNTAXES[codec]
    kinds = {(unit[0] >> syntax.shift) & syntax.mask for unit in sets}
    sizes = {picture_size((unit,), codec) for unit in sets} - {None}
    return sizes.pop() if kinds == syntax.numbered.keys() and len(sizes) == 1 else None


def decoded_size(key_frame: bytes, codec: str) -> Size | None:
    """What a decoder makes of a key frame with its parameter sets, in some milliseconds."""
    try:
        with av.open(io.BytesIO(key_frame), format=codec) as container:
            found = container.streams.video[0].codec_context
            return (found.width, found.height) if found.width and found.height else None
    except (av.error.FFmpegError, IndexError):
        return None
