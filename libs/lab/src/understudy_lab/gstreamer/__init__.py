"""Cameras that we have not written: GStreamer's RTSP server, where Debian's packages for it are installed."""

from understudy_lab.gstreamer.cameras import (
    AAC,
    G711,
    H264,
    H265,
    PACKAGES,
    SLICES,
    GStreamerCameras,
    camera,
    missing,
)
from understudy_lab.gstreamer.clip_file import served, write_clip

__all__ = [
    "AAC",
    "G711",
    "H264",
    "H265",
    "PACKAGES",
    "SLICES",
    "GStreamerCameras",
    "camera",
    "missing",
    "served",
    "write_clip",
]
