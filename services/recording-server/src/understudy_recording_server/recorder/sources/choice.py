"""Which of the streams that a camera describes are recorded, and whether we read them ourselves. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from understudy_contracts.model import CameraState

from understudy_recording_server.recorder.sources.problems import NO_VIDEO, SourceProblem
from understudy_recording_server.rtsp.aac import AacFrames
from understudy_recording_server.rtsp.access_units import Unsuited
from understudy_recording_server.rtsp.description import Media
from understudy_recording_server.rtsp.g711 import G711Frames
from understudy_recording_server.rtsp.messages import NotRtsp
from understudy_recording_server.rtsp.sound import SoundFrames

_CODECS = {"H264": "h264", "H265": "hevc"}
_AAC = "MPEG4-GENERIC"
_OTHER_AAC = "MP4A-LATM"
_G711 = {"PCMU", "PCMA"}


@dataclass(frozen=True)
class Chosen:
    """The streams to be recorded; `codec` is the picture's by FFmpeg's name, `sounds` reads the sound."""

    video: Media
    sound: Media | None
    codec: str
    sounds: SoundFrames | None


def chosen_streams(medias: list[Media], *, with_sound: bool) -> Chosen:
    """The first picture that a camera describes, and the first sound that can be recorded as it is.

    Raises:
        NotRtsp: the description names no stream.
        SourceProblem: it names no picture.
        Unsuited: what it names is for FFmpeg to read.
    """
    if not medias:
        raise NotRtsp("the description names no stream")
    video = next((media for media in medias if media.kind == "video"), None)
    if video is None:
        raise SourceProblem(NO_VIDEO, CameraState.REFUSED)
    codec = _CODECS.get(video.encoding)
    interleaved = video.fmtp.get("packetization-mode") == "2" or any(
        video.fmtp.get(name, "0") != "0" for name in ("sprop-max-don-diff", "sprop-depack-buf-nalus")
    )
    if codec is None or interleaved:
        raise Unsuited(f"video as {video.encoding} is not read")
    sound = sounds = None
    for media in medias if with_sound else ():
        if media.kind == "audio" and sounds is None:
            sound, sounds = media, _sounds(media)
    return Chosen(video, sound if sounds else None, codec, sounds)


def _sounds(media: Media) -> SoundFrames | None:
    """What reads this sound; None for a kind that is left out."""
    if media.encoding == _OTHER_AAC:
        raise Unsuited(f"sound as {media.encoding} is not read")
    if media.encoding == _AAC:
        return AacFrames(media.payload_type, media.fmtp)
    if media.encoding in _G711:
        return G711Frames(media.payload_type, int(media.channels.removeprefix("/") or 1) or 1)
    return None
