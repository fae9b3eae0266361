"""The clip that all simulated cameras loop: encoded once, then kept in a cache file."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import av.filter
import msgspec
from av.video.frame import PictureType

from understudy_lab.marks import NAL_IDR, NAL_PPS, NAL_SLICE, NAL_SPS, NAL_TYPE_MASK

_ENCODING = 1
"""Part of the cache key: raise it when the way of encoding changes."""
_START_CODE = re.compile(rb"\x00\x00\x00?\x01")


class ClipSettings(msgspec.Struct, frozen=True):
    """What a camera's stream is like."""

    width: int = 1280
    height: int = 720
    fps: int = 25
    bitrate_kbit: int = 2000
    gop_s: float = 1.0
    """Seconds from key frame to key frame."""
    length_s: float = 6.0
    """Seconds until the clip begins again; rounded to whole groups of pictures."""

    @property
    def gop_frames(self) -> int:
        return max(1, round(self.gop_s * self.fps))

    @property
    def frame_count(self) -> int:
        groups = max(1, round(self.length_s * self.fps / self.gop_frames))
        return groups * self.gop_frames

    def refusal(self) -> str | None:
        """Why such a clip cannot be made; None if it can."""
        if not (16 <= self.width <= 4096 and 16 <= self.height <= 4096):
            return "width and height must be 16 to 4096 pixels"
        if self.width % 2 or self.height % 2:
            return "width and height must be even"
        if not 1 <= self.fps <= 120:
            return "fps must be 1 to 120"
        if not 16 <= self.bitrate_kbit <= 100_000:
            return "the bit rate must be 16 to 100000 kbit/s"
        if not 0 < self.gop_s <= 60 or not 0 < self.length_s <= 300:
            return "the key frame interval must be at most 60 s, the clip's length at most 300 s"
        return None


class ClipFrame(msgspec.Struct, frozen=True, array_like=True):
    """A frame's slices as NAL units, without start codes."""

    is_key: bool
    slices: list[bytes]


class Clip(msgspec.Struct, frozen=True, array_like=True):
    sps: bytes
    pps: bytes
    frames: list[ClipFrame]


def load_clip(settings: ClipSettings, cache_dir: Path | None = None) -> Clip:
    """The clip from the cache, else encoded now (a second or two) and put there.

    Raises ValueError if the settings make no sense. A cache that cannot be read or written only costs time.
    """
    if refusal := settings.refusal():
        raise ValueError(refusal)
    key = hashlib.sha256(msgspec.json.encode([_ENCODING, settings])).hexdigest()[:16]
    file = (cache_dir or _default_cache_dir()) / f"clip-{key}.msgpack"
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        clip = msgspec.msgpack.decode(file.read_bytes(), type=Clip)
        if len(clip.frames) == settings.frame_count:
            return clip
    clip = encode_clip(settings)
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix=file.name, delete=False) as unfinished:
            unfinished.write(msgspec.msgpack.encode(clip))
        Path(unfinished.name).replace(file)
    return clip


def encode_clip(settings: ClipSettings) -> Clip:
    """A moving test picture with noise, H.264 without B frames, one slice a frame if the encoder can."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height = settings.width, settings.height
    encoder.pix_fmt = "yuv420p"
    encoder.framerate = Fraction(settings.fps)
    encoder.time_base = Fraction(1, settings.fps)
    encoder.bit_rate = settings.bitrate_kbit * 1000
    encoder.thread_count = 1
    encoder.options = {
        "preset": "veryfast",
        "profile": "high",
        "x264-params": (
            f"keyint={settings.gop_frames}:min-keyint={settings.gop_frames}:scenecut=0:open-gop=0:bframes=0"
            f":rc-lookahead=0:sync-lookahead=0:slices=1:repeat-headers=1:aud=0"
            f":vbv-maxrate={settings.bitrate_kbit}:vbv-bufsize={settings.bitrate_kbit}"
        ),
    }
    sps = pps = b""
    frames: list[ClipFrame] = []
    for packet in _encoded(encoder, settings):
        slices = []
        is_key = False
        for nal in split_annex_b(packet):
            kind = nal[0] & NAL_TYPE_MASK
            if kind == NAL_SPS:
                sps = nal
            elif kind == NAL_PPS:
                pps = nal
            elif kind in {NAL_SLICE, NAL_IDR}:  # the encoder's own SEI is left out
                is_key = is_key or kind == NAL_IDR
                slices.append(nal)
        frames.append(ClipFrame(is_key, slices))
    return Clip(sps, pps, frames)


def split_annex_b(stream: bytes) -> list[bytes]:
    """The NAL units between the start codes of a byte stream (ITU-T H.264, annex B)."""
    return [nal for nal in (part.rstrip(b"\x00") for part in _START_CODE.split(stream)) if nal]


def _encoded(encoder: av.VideoCodecContext, settings: ClipSettings) -> list[bytes]:
    graph = av.filter.Graph()
    source = graph.add("testsrc2", f"size={settings.width}x{settings.height}:rate={settings.fps}")
    # Noise as a sensor makes it: without it a test picture needs a tenth of a camera's bits.
    noise = graph.add("noise", "all_strength=10:all_flags=t:all_seed=1")
    form = graph.add("format", "pix_fmts=yuv420p")
    sink = graph.add("buffersink")
    graph.link_nodes(source, noise, form, sink).configure()
    packets: list[bytes] = []
    for number in range(settings.frame_count):
        frame = graph.vpull()
        frame.pts = number
        frame.time_base = encoder.time_base
        frame.pict_type = PictureType.NONE
        packets.extend(bytes(packet) for packet in encoder.encode(frame))
    packets.extend(bytes(packet) for packet in encoder.encode(None))
    return packets


def _default_cache_dir() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    with contextlib.suppress(RuntimeError):  # no home folder
        return (Path(base) if base else Path.home() / ".cache") / "understudy"
    return Path(tempfile.gettempdir()) / f"understudy-{os.getuid()}"
