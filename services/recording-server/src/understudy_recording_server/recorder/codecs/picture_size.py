"""What sequence parameter sets say of a stream's pictures: their size, and whether they change order.

ITU-T H.264, clauses 7.3.2.1.1 and E.1, and H.265, clause 7.3.2.2. Pure, and never raises: to ask a demuxer
costs milliseconds a camera, which counts when a whole server's cameras begin at once.

The numbers' limits are the standards' own. We keep to them so that bytes that merely look like a parameter
set are seldom taken for one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from understudy_recording_server.recorder.codecs.bits import Bits, Malformed

LARGEST = 16384
"""Pixels a side, which no camera comes near."""
Size = tuple[int, int]


def picture_size(units: Iterable[bytes], codec: str) -> Size | None:
    """Width and height as shown, of the last sequence parameter set among these units; `codec` is FFmpeg's
    name. None without one, and for one that is cut off before its size is told, or makes no sense."""
    try:
        bits = _last(units, codec)
        return _h264(bits).size if codec == "h264" else _h265(bits).size
    except Malformed:
        return None


def reorders(units: Iterable[bytes], codec: str) -> bool | None:
    """Whether pictures may be shown in another order than they are sent in, as that set says. None if it does
    not."""
    try:
        bits = _last(units, codec)
        return _h264_reorders(bits) if codec == "h264" else _h265_reorders(bits)
    except Malformed:
        return None


def _last(units: Iterable[bytes], codec: str) -> Bits:
    """The last sequence parameter set, from behind its header on."""
    payload: bytes | None = None
    for unit in units:
        if codec == "h264" and unit and unit[0] & 0x1F == 7:
            payload = unit[1:]
        # Those of other layers than the base layer (nuh_layer_id) are written otherwise: annex F.
        elif codec == "hevc" and unit and unit[0] & 0x7F == 33 << 1 and unit[1:2] < b"\x08":
            payload = unit[2:]
    if payload is None:
        raise Malformed
    return Bits(payload)


_SUBSAMPLING = {0: (1, 1), 1: (2, 2), 2: (2, 1), 3: (1, 1)}
"""By chroma_format_idc: SubWidthC and SubHeightC (table 6-1), what windows are measured in. Of monochrome and
separate planes both standards have it that 1 and 1 are used."""


def _shown(coded: Size, window: Iterable[int], unit: tuple[int, int]) -> Size:
    """Inside the window, whose offsets are from the left, right, top and bottom."""
    left, right, top, bottom = window
    size = coded[0] - unit[0] * (left + right), coded[1] - unit[1] * (top + bottom)
    if max(coded) > LARGEST or min(size) <= 0:
        raise Malformed
    return size


def _window(bits: Bits) -> list[int]:
    """A flag, and four offsets if it is set."""
    return [bits.ue() for _ in range(4)] if bits.flag() else [0] * 4


_WITH_CHROMA_FORMAT = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}
"""Of H.264."""
_BASELINE = 66
_EXTENDED_SAR = 255
_MOST_FRAMES = 16
"""MaxDpbFrames: clause A.3.1."""


class _H264(NamedTuple):
    size: Size
    keeps_order: bool
    """Whether it is certain even without the VUI."""


def _h264(bits: Bits) -> _H264:
    """seq_parameter_set_data(), up to the VUI."""
    profile = bits.u(8)
    bits.u(16)  # Constraints and level.
    bits.ue(31)  # seq_parameter_set_id
    chroma = _chroma_format(bits) if profile in _WITH_CHROMA_FORMAT else 1
    bits.ue(12)  # log2_max_frame_num_minus4
    order_type = bits.ue(2)
    _skip_order_count(bits, order_type)
    bits.ue(_MOST_FRAMES)  # max_num_ref_frames
    bits.flag()  # gaps_in_frame_num_value_allowed_flag
    width_mbs = bits.ue() + 1
    height_units = bits.ue() + 1
    only_frames = bits.flag()
    if not only_frames:
        bits.flag()  # mb_adaptive_frame_field_flag
    bits.flag()  # direct_8x8_inference_flag
    # A unit of height is a macroblock of a field, two rows of them in a frame: formula 7-18.
    rows = 1 if only_frames else 2
    wide, high = _SUBSAMPLING[chroma]
    size = _shown((16 * width_mbs, 16 * rows * height_units), _window(bits), (wide, high * rows))
    # Baseline has no B slices (A.2.1), and type 2 no other order (8.2.1.3).
    return _H264(size, profile == _BASELINE or order_type == 2)


def _chroma_format(bits: Bits) -> int:
    """What only the higher profiles have."""
    chroma = bits.ue(3)
    if chroma == 3:
        bits.flag()  # separate_colour_plane_flag
    bits.ue(6)  # bit_depth_luma_minus8
    bits.ue(6)  # bit_depth_chroma_minus8
    bits.flag()  # qpprime_y_zero_transform_bypass_flag
    if bits.flag():
        for number in range(12 if chroma == 3 else 8):
            if bits.flag():
                _skip_scaling_list(bits, 16 if number < 6 else 64)
    return chroma


def _skip_scaling_list(bits: Bits, entries: int) -> None:
    """scaling_list(): clause 7.3.2.1.1.1. A next scale of 0 stands for all the rest."""
    scale = 8
    for _ in range(entries):
        scale = (scale + bits.se()) % 256
        if scale == 0:
            return


def _skip_order_count(bits: Bits, order_type: int) -> None:
    if order_type == 0:
        bits.ue(12)  # log2_max_pic_order_cnt_lsb_minus4
    elif order_type == 1:
        bits.flag()  # delta_pic_order_always_zero_flag
        bits.se()  # offset_for_non_ref_pic
        bits.se()  # offset_for_top_to_bottom_field
        for _ in range(bits.ue(255)):
            bits.se()  # offset_for_ref_frame


def _h264_reorders(bits: Bits) -> bool | None:
    if _h264(bits).keeps_order:
        return False
    if not bits.flag():  # vui_parameters_present_flag
        return None
    _skip_vui(bits)
    if not bits.flag():  # bitstream_restriction_flag
        return None
    bits.flag()  # motion_vectors_over_pic_boundaries_flag
    bits.ue(16)  # max_bytes_per_pic_denom
    bits.ue(16)  # max_bits_per_mb_denom
    bits.ue(32)  # log2_max_mv_length_horizontal; 16 in later editions
    bits.ue(32)  # log2_max_mv_length_vertical
    return bits.ue(_MOST_FRAMES) > 0  # max_num_reorder_frames


def _skip_vui(bits: Bits) -> None:
    """vui_parameters() up to bitstream_restriction_flag: clause E.1.1."""
    if bits.flag() and bits.u(8) == _EXTENDED_SAR:
        bits.u(32)
    if bits.flag():
        bits.flag()  # overscan_appropriate_flag
    if bits.flag():
        bits.u(4)  # video_format, video_full_range_flag
        if bits.flag():
            bits.u(24)  # colour_primaries, transfer_characteristics, matrix_coefficients
    if bits.flag():
        bits.ue(5)  # chroma_sample_loc_type_top_field
        bits.ue(5)  # chroma_sample_loc_type_bottom_field
    if bits.flag():
        bits.u(65)  # num_units_in_tick, time_scale, fixed_frame_rate_flag
    with_nal_hrd = _skip_hrd(bits)
    with_vcl_hrd = _skip_hrd(bits)
    if with_nal_hrd or with_vcl_hrd:
        bits.flag()  # low_delay_hrd_flag
    bits.flag()  # pic_struct_present_flag


def _skip_hrd(bits: Bits) -> bool:
    """A flag, and hrd_parameters() if it is set: clause E.1.2."""
    present = bits.flag()
    if present:
        count = bits.ue(31) + 1
        bits.u(8)  # bit_rate_scale, cpb_size_scale
        for _ in range(count):
            bits.ue()  # bit_rate_value_minus1
            bits.ue()  # cpb_size_value_minus1
            bits.flag()  # cbr_flag
        bits.u(20)  # Lengths of delays and of the time offset.
    return present


_PROFILE_BITS = 88
"""general_profile_space up to general_inbld_flag or its place, and the same of each sub-layer."""
_LEVEL_BITS = 8


class _H265(NamedTuple):
    size: Size
    sub_layers: int
    """Beyond the first: sps_max_sub_layers_minus1."""


def _h265(bits: Bits) -> _H265:
    """seq_parameter_set_rbsp(), up to the conformance window."""
    bits.u(4)  # sps_video_parameter_set_id
    sub_layers = bits.u(3)
    if sub_layers > 6:
        raise Malformed
    bits.flag()  # sps_temporal_id_nesting_flag
    _skip_profile_tier_level(bits, sub_layers)
    bits.ue(15)  # sps_seq_parameter_set_id
    chroma = bits.ue(3)
    if chroma == 3:
        bits.flag()  # separate_colour_plane_flag
    coded = (bits.ue(), bits.ue())
    return _H265(_shown(coded, _window(bits), _SUBSAMPLING[chroma]), sub_layers)


def _skip_profile_tier_level(bits: Bits, sub_layers: int) -> None:
    """profile_tier_level(1, sub_layers): clause 7.3.3."""
    bits.u(_PROFILE_BITS + _LEVEL_BITS)
    present = [(bits.flag(), bits.flag()) for _ in range(sub_layers)]
    if sub_layers:
        bits.u(2 * (8 - sub_layers))  # reserved_zero_2bits
    for profile, level in present:
        bits.u(_PROFILE_BITS * profile + _LEVEL_BITS * level)


def _h265_reorders(bits: Bits) -> bool:
    sub_layers = _h265(bits).sub_layers
    bits.ue(8)  # bit_depth_luma_minus8
    bits.ue(8)  # bit_depth_chroma_minus8
    bits.ue(12)  # log2_max_pic_order_cnt_lsb_minus4
    told = sub_layers + 1 if bits.flag() else 1  # sps_sub_layer_ordering_info_present_flag
    highest = 0
    for _ in range(told):
        most = bits.ue(_MOST_FRAMES - 1)  # sps_max_dec_pic_buffering_minus1
        highest = bits.ue(most)  # sps_max_num_reorder_pics
        bits.ue()  # sps_max_latency_increase_plus1
    return highest > 0
