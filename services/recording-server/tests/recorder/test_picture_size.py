"""What we read out of parameter sets, against what FFmpeg's encoders wrote and its decoders make of it."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from av.packet import Packet
from hypothesis import given
from hypothesis import strategies as st
from understudy_recording_server.recorder.assembly import Assembly
from understudy_recording_server.recorder.codecs.bits import Bits, Malformed
from understudy_recording_server.recorder.codecs.bitstream import SYNTAXES, annex_b, opening
from understudy_recording_server.recorder.codecs.picture_size import LARGEST, picture_size, reorders
from understudy_recording_server.recorder.frames import Arrived, Streams

X264, X265 = "libx264", "libx265"
CODECS = {X264: "h264", X265: "hevc"}
# What libx264 and libx265 wrote for 322x242 and 320x240, the latter with two temporal sub-layers.
H264_SPS = bytes.fromhex("6742c00dda05421e2223011000000300100000030320f142aa")
H265_SPS = bytes.fromhex(
    "42010201600000030090000003000003003c0000a00a080f1659594aca94985e02d0100000030010000003019080"
)
REAL = [(H264_SPS, "h264", (322, 242), False), (H265_SPS, "hevc", (320, 240), True)]
EVERY_VUI = (
    "sar=12/11:overscan=crop:videoformat=pal:colorprim=bt709:chromaloc=1"
    ":nal-hrd=cbr:bitrate=200:vbv-maxrate=200:vbv-bufsize=200"
)


@pytest.fixture(scope="module")
def ffmpeg(require_tool: Callable[[str, str], str]) -> str:
    return require_tool("ffmpeg", "ffmpeg")


def _seen(stream: bytes, codec: str) -> tuple[tuple[int, int], bool]:
    """FFmpeg's own answers: the size, and whether frames change order."""
    with av.open(io.BytesIO(stream), format=codec) as container:
        context = container.streams.video[0].codec_context
        return (context.width, context.height), context.has_b_frames


@pytest.mark.parametrize(
    ("encoder", "size", "pixels", "options"),
    [
        (X264, "640x360", "yuv420p", "-profile:v baseline"),
        (X264, "1920x1080", "yuv420p", "-profile:v baseline"),
        (X264, "640x360", "yuv420p", "-profile:v main -bf 0"),
        (X264, "642x358", "yuv420p", "-profile:v main -bf 3"),
        (X264, "322x242", "yuv420p", "-profile:v high -bf 3 -preset veryfast"),
        (X264, "2x2", "yuv420p", "-profile:v high -bf 0"),
        (X264, "322x242", "gray", "-profile:v high -bf 3"),
        (X264, "322x242", "yuv420p10le", "-profile:v high10 -bf 3"),
        (X264, "322x241", "yuv422p", "-profile:v high422 -bf 3"),
        (X264, "323x241", "yuv444p", "-profile:v high444 -bf 3"),
        (X264, "1920x1080", "yuv420p", "-flags +ildct+ilme -bf 0 -preset superfast"),
        (X264, "322x244", "yuv420p", "-x264-params interlaced=1:bframes=3"),
        (X264, "322x244", "yuv422p", "-x264-params interlaced=1:bframes=0"),
        (X264, "642x362", "yuv420p", f"-x264-params bframes=3:{EVERY_VUI}"),
        (X264, "642x364", "yuv420p", f"-x264-params bframes=0:interlaced=1:{EVERY_VUI}"),
        (X264, "640x368", "yuv420p", "-bf 3 -bsf:v h264_metadata=crop_left=6:crop_right=2:crop_bottom=10"),
        (X265, "640x360", "yuv420p", "-bf 0"),
        (X265, "1920x1080", "yuv420p", "-bf 3"),
        (X265, "322x242", "yuv420p", "-bf 3"),
        (X265, "322x242", "gray", "-bf 0"),
        (X265, "322x242", "yuv420p10le", "-bf 0"),
        (X265, "322x241", "yuv422p", "-bf 3"),
        (X265, "323x241", "yuv444p", "-bf 3"),
        (X265, "16x16", "yuv420p", "-bf 0"),
        (X265, "322x242", "yuv420p", "-x265-params temporal-layers=1:bframes=3:log-level=none"),
        (X265, "640x360", "yuv420p", "-bsf:v hevc_metadata=crop_left=6:crop_right=2:crop_bottom=10"),
    ],
)
def test_it_is_what_ffmpeg_sees(
    ffmpeg: str, tmp_path: Path, encoder: str, size: str, pixels: str, options: str
) -> None:
    codec, file = CODECS[encoder], tmp_path / "clip"
    source = ["-f", "lavfi", "-i", f"testsrc=s={size}:r=25", "-frames:v", "3", "-pix_fmt", pixels]
    how = ["-c:v", encoder, "-preset", "ultrafast", *options.split()]
    quiet = ["-x265-params", "log-level=none"] if encoder == X265 and "-x265-params" not in how else []
    subprocess.run([ffmpeg, "-v", "error", *source, *how, *quiet, "-f", codec, file], check=True)
    stream = file.read_bytes()
    shown, changes_order = _seen(stream, codec)
    units = opening(stream, SYNTAXES[codec]).parameters
    assert picture_size(units, codec) == shown
    assert reorders(units, codec) == changes_order
    if "crop" not in options:
        assert size == "x".join(map(str, shown))
    for unit in units:
        _cut_off_anywhere(unit, codec, shown, changes_order)


def _cut_off_anywhere(unit: bytes, codec: str, shown: tuple[int, int], changes_order: bool) -> None:
    for length in range(len(unit)):
        assert picture_size([unit[:length]], codec) in {None, shown}
        assert reorders([unit[:length]], codec) in {None, changes_order}


@pytest.mark.parametrize(("unit", "codec", "shown", "changes_order"), REAL)
def test_a_part_of_a_set_gives_the_right_answer_or_none(unit, codec, shown, changes_order) -> None:
    assert picture_size([unit], codec) == shown
    assert reorders([unit], codec) is changes_order
    _cut_off_anywhere(unit, codec, shown, changes_order)


@given(st.lists(st.binary(max_size=200)), st.sampled_from(["h264", "hevc", "mjpeg"]))
def test_any_bytes_can_be_read(units: list[bytes], codec: str) -> None:
    _sensible(units, codec)


@given(
    st.binary(max_size=300),
    st.sampled_from([(b"\x67", "h264"), (b"\x67\x64", "h264"), (b"\x42\x01", "hevc")]),
)
def test_anything_can_stand_in_a_set(payload: bytes, kind: tuple[bytes, str]) -> None:
    _sensible([kind[0] + payload], kind[1])


@given(st.sampled_from(REAL), st.lists(st.integers(0, 8 * 46), min_size=1, max_size=8))
def test_a_damaged_set_can_be_read(real, flips: list[int]) -> None:
    damaged = bytearray(real[0])
    for bit in flips:
        damaged[bit // 8 % len(damaged)] ^= 1 << bit % 8
    _sensible([bytes(damaged)], real[1])


def _sensible(units: list[bytes], codec: str) -> None:
    size = picture_size(units, codec)
    assert size is None or all(0 < side <= LARGEST for side in size)
    assert reorders(units, codec) in {None, False, True}


def test_the_last_set_counts() -> None:
    pps, aud = b"\x68\xce\x0f\xc8", b"\x09\xf0"
    plain = _plain_h264(40, 30)
    assert picture_size([H264_SPS, aud, plain, pps, b""], "h264") == (640, 480)
    assert picture_size([plain, pps, H264_SPS], "h264") == (322, 242)
    # An older one is not the answer when the newest is cut off.
    assert picture_size([plain, H264_SPS[:5]], "h264") is None
    assert picture_size([plain, H264_SPS[:1]], "h264") is None
    # Of another layer: that of a second eye, say.
    assert picture_size([H265_SPS, b"\x42\x09" + _plain_h265(0, {})[1][2:]], "hevc") == (320, 240)


@pytest.mark.parametrize("units", [[], [b""], [b"\x68\xce\x0f\xc8"], [H265_SPS]])
def test_none_without_a_set(units: list[bytes]) -> None:
    assert picture_size(units, "h264") is None
    assert reorders(units, "h264") is None


def test_sets_of_one_codec_say_nothing_of_another() -> None:
    assert picture_size([H264_SPS], "hevc") is None
    assert picture_size([H264_SPS, H265_SPS], "mpeg4") is None


@pytest.mark.parametrize(
    ("width", "height", "window", "shown"),
    [
        (1024, 1024, (0, 0, 0, 0), (LARGEST, LARGEST)),
        (1025, 1, (0, 0, 0, 0), None),
        (1025, 1, (0, 8, 0, 0), None),
        (1, 1, (0, 8, 0, 0), None),
        (1, 1, (4, 3, 0, 7), (2, 2)),
        (1, 1, (4, 4, 0, 0), None),
        (1, 1, (0, 0, 2**32 - 2, 0), None),
    ],
)
def test_sizes_that_make_no_sense_are_none(width: int, height: int, window, shown) -> None:
    assert picture_size([_plain_h264(width, height, window=window)], "h264") == shown


class Writer:
    """The other way round, for what no encoder here writes; FFmpeg judges it where it can."""

    def __init__(self) -> None:
        self._bits = ""

    def u(self, count: int, *numbers: int) -> Writer:
        self._bits += "".join(f"{number:0{count}b}" for number in numbers)
        return self

    def ue(self, *numbers: int) -> Writer:
        for number in numbers:
            code = f"{number + 1:b}"
            self._bits += "0" * (len(code) - 1) + code
        return self

    def se(self, *numbers: int) -> Writer:
        return self.ue(*(2 * number - 1 if number > 0 else -2 * number for number in numbers))

    def unit(self, header: bytes) -> bytes:
        bits = self._bits + "1"
        bits += "0" * (-len(bits) % 8)
        out = bytearray()
        for byte in int(bits, 2).to_bytes(len(bits) // 8, "big"):
            if out[-2:] == b"\x00\x00" and byte <= 3:
                out.append(3)
            out.append(byte)
        return header + bytes(out)


def _plain_h264(
    width: int,
    height: int,
    *,
    number: int = 0,
    profile: int = 77,
    chroma: Callable[[Writer], object] = lambda to: to,
    order: Callable[[Writer], object] = lambda to: to.ue(0, 0),
    only_frames: bool = True,
    window: tuple[int, ...] = (0, 0, 0, 0),
    vui: Callable[[Writer], object] = lambda to: to.u(1, 0),
) -> bytes:
    to = Writer().u(8, profile, 0, 40).ue(number)
    chroma(to)
    to.ue(0)
    order(to)
    to.ue(1).u(1, 0).ue(width - 1, height - 1)
    to.u(1, 1) if only_frames else to.u(1, 0, 1)
    to.u(1, 1, 1).ue(*window)
    vui(to)
    return to.unit(b"\x67")


def _planes(chroma: int, *, apart: int = 0) -> Callable[[Writer], object]:
    """Eight bits, no scaling lists."""
    return lambda to: to.ue(chroma).u(1, *([apart] if chroma == 3 else [])).ue(0, 0).u(1, 0, 0)


def _scaling_lists(chroma: int) -> Callable[[Writer], object]:
    """None, one whole, one that ends early, one that stands for the default, and so on."""

    def write(to: Writer) -> None:
        to.ue(chroma).u(1, *([0] if chroma == 3 else [])).ue(0, 0).u(1, 0, 1)
        for number in range(12 if chroma == 3 else 8):
            entries = 16 if number < 6 else 64
            to.u(1, number % 4 != 0)
            if number % 4 == 1:
                to.se(*[7, -7, 100, -128, 127, -98, 3, -3] * (entries // 8))
            elif number % 4 == 2:
                to.se(5, 3, -16)
            elif number % 4 == 3:
                to.se(-8)

    return write


def _order_by_table(to: Writer) -> None:
    to.ue(1).u(1, 1).se(-2, 3).ue(3).se(4, -5, 0)


def _vui(reordered: int | None) -> Callable[[Writer], object]:
    def write(to: Writer) -> None:
        to.u(1, 1)
        to.u(1, 1).u(8, 255).u(16, 4, 3)  # The shape of samples.
        to.u(1, 1, 1)  # Overscan.
        to.u(1, 1).u(3, 5).u(1, 0, 1).u(8, 1, 1, 1)  # Colours.
        to.u(1, 1).ue(1, 1)  # Where chroma is.
        to.u(1, 1).u(32, 1, 50).u(1, 1)  # Timing.
        for _ in range(2):  # What decoders have to hold.
            to.u(1, 1).ue(1).u(4, 0, 0).ue(999, 1999).u(1, 0).ue(70000, 3).u(1, 1).u(5, 23, 23, 23, 24)
        to.u(1, 0, 0)
        to.u(1, reordered is not None)
        if reordered is not None:
            to.u(1, 1).ue(0, 0, 11, 11, reordered, 4)

    return write


H264_REST = bytes.fromhex("0000000168ce0fc80000016588843a2628000902c9c9c9d75d75d75d75d75d75e0")
"""A picture set and a key frame of libx264's, to make a decoder look at a sequence set before them."""


@pytest.mark.parametrize(
    ("written", "changes_order"),
    [
        ({"profile": 66}, False),
        ({"order": _order_by_table}, None),
        ({"order": _order_by_table, "vui": _vui(0)}, False),
        ({"order": lambda to: to.ue(2), "vui": _vui(None)}, False),
        ({"vui": _vui(None)}, None),
        ({"vui": _vui(0)}, False),
        ({"vui": _vui(2)}, True),
        *(
            ({"profile": profile, "chroma": chroma, "only_frames": only_frames, "vui": _vui(1)}, True)
            for profile, chroma in [
                (100, _planes(0)),
                (100, _planes(1)),
                (100, _scaling_lists(1)),
                (122, _planes(2)),
                (122, _scaling_lists(2)),
                (244, _planes(3)),
                (244, _scaling_lists(3)),
            ]
            for only_frames in [True, False]
        ),
    ],
)
def test_what_encoders_seldom_write_in_h264(written, changes_order: bool | None) -> None:
    unit = _plain_h264(40, 20, window=(1, 3, 4, 2), **written)
    shown, ffmpegs = _seen(annex_b((unit,)) + H264_REST, "h264")
    assert picture_size([unit], "h264") == shown
    assert reorders([unit], "h264") is changes_order
    if written.get("only_frames", True):  # Else the key frame would have to name its field.
        assert changes_order in {None, ffmpegs}
    _cut_off_anywhere(unit, "h264", shown, changes_order)


def test_planes_apart_in_h264() -> None:
    """FFmpeg cannot decode these, so that we are alone with the standard."""
    unit = _plain_h264(40, 20, profile=244, chroma=_planes(3, apart=1), window=(1, 3, 4, 2), vui=_vui(3))
    assert picture_size([unit], "h264") == (636, 314)
    assert reorders([unit], "h264") is True


def _profile(to: Writer) -> None:
    to.u(8, 1).u(32, 0x60000000).u(48, 0x900000000000)


def _plain_h265(
    sub_layers: int,
    told: dict[int, tuple[int, int]],
    *,
    chroma: int = 1,
    apart: int = 0,
    reordered: tuple[int, ...] = (0,),
) -> tuple[bytes, bytes]:
    """Video and sequence parameter sets of 1288x728 with a window. `told`: which sub-layers beyond the first
    have a profile, and a level. `reordered`: of each, or of the highest only."""

    def tiers(to: Writer) -> None:
        _profile(to)
        to.u(8, 93)
        for number in range(8 if sub_layers else 0):
            to.u(1, *told.get(number, (0, 0)))
        for number in range(sub_layers):
            with_profile, with_level = told.get(number, (0, 0))
            if with_profile:
                _profile(to)
            if with_level:
                to.u(8, 90)

    def orders(to: Writer) -> None:
        to.u(1, len(reordered) > 1)
        for number in reordered:
            to.ue(4, number, 0)

    video = Writer().u(4, 0).u(2, 3).u(6, 0).u(3, sub_layers).u(1, 1).u(16, 0xFFFF)
    tiers(video)
    orders(video)
    video.u(6, 0).ue(0).u(1, 0, 0)
    to = Writer().u(4, 0).u(3, sub_layers).u(1, 1)
    tiers(to)
    to.ue(0, chroma).u(1, *([apart] if chroma == 3 else []))
    to.ue(1288, 728).u(1, 1).ue(1, 3, 4, 2).ue(0, 0, 4)
    orders(to)
    # Sizes of blocks, then no tools, no sets of reference pictures, no VUI.
    to.ue(0, 3, 0, 3, 0, 0).u(1, 0, 0, 0, 0).ue(0).u(1, 0, 0, 0, 0, 0)
    return video.unit(b"\x40\x01"), to.unit(b"\x42\x01")


H265_REST = bytes.fromhex("000000014401c073c0890000012801ac760d9ffeef55a91c")
"""As above, of libx265's."""


@pytest.mark.parametrize(
    ("written", "changes_order"),
    [
        (_plain_h265(0, {}), False),
        (_plain_h265(0, {}, chroma=0), False),
        (_plain_h265(0, {}, chroma=2), False),
        (_plain_h265(0, {}, chroma=3), False),
        (_plain_h265(0, {}, chroma=3, apart=1), False),
        (_plain_h265(1, {0: (1, 1)}, reordered=(0, 0)), False),
        (_plain_h265(2, {1: (1, 0)}, reordered=(2,)), True),
        (_plain_h265(6, {}, reordered=(0, 0, 0, 0, 0, 0, 1)), True),
        (_plain_h265(6, {1: (1, 1), 2: (0, 1), 4: (1, 0)}, reordered=(0, 0, 0, 0, 1, 2, 3)), True),
        (_plain_h265(6, dict.fromkeys(range(6), (1, 1)), reordered=(0,)), False),
    ],
)
def test_what_encoders_seldom_write_in_h265(written: tuple[bytes, bytes], changes_order: bool) -> None:
    shown, ffmpegs = _seen(annex_b(written) + H265_REST, "hevc")
    assert picture_size(written, "hevc") == shown
    assert reorders(written, "hevc") is changes_order is ffmpegs
    _cut_off_anywhere(written[1], "hevc", shown, changes_order)


def test_numbers_beyond_32_bits_are_no_numbers() -> None:
    assert Bits(b"\x00\x00\x03\x00\x01\xff\xff\xff\xfe").ue() == 2**32 - 2
    with pytest.raises(Malformed):
        Bits(b"\x00" * 4 + b"\xff" * 8).ue()


def _arrived(packet: Packet) -> Arrived:
    return Arrived(packet, True, packet.is_keyframe, packet.dts, packet.pts, 0.0, 0)


def _changes(*key_frames: bytes) -> list[tuple[int, int]]:
    """The sizes that an assembly tells of on the way."""
    with av.open(io.BytesIO(b"".join(key_frames)), format="h264") as container:
        assembly = Assembly(Streams(container.streams.video[0], None, 1 / 25, 0.0))
        packets = [packet for packet in container.demux() if packet.size]
        assert [packet.is_keyframe for packet in packets] == [True] * len(key_frames)
        found = [one for packet in packets for one in assembly.take(_arrived(packet))] + assembly.rest()
    told = [one.parameters for one in found if isinstance(one, Streams)]
    return [(one.width, one.height) for one in told if one is not None]


def test_an_assembly_tells_of_another_size() -> None:
    first, second = annex_b((_plain_h264(40, 30),)), annex_b((_plain_h264(20, 15),))
    other = annex_b((_plain_h264(80, 60, number=1),))
    assert _changes(first + H264_REST, second + H264_REST) == [(320, 240)]
    # The picture set means number 0.
    assert _changes(first + H264_REST, second + other + H264_REST) == [(320, 240)]
    # The picture set was lost: nothing that a file could begin with.
    assert _changes(first + H264_REST, second + H264_REST[8:]) == []
