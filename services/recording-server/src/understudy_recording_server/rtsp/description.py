"""What a camera says that it will send: the session description (RFC 4566, RFC 6184 8.2, RFC 7798 7.2,
RFC 3640 4.1), as far as we need it; codec parameters are FFmpeg's to read. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field

USUAL_CLOCK_HZ = 90_000
_STATIC = {0: ("PCMU", 8000), 8: ("PCMA", 8000)}
"""Payload types that need no name (RFC 3551, 6), as far as cameras use them: encoding and clock in Hz."""


@dataclass(slots=True)
class Media:
    """One stream. `fmtp` holds the format's parameters, by names in lower case."""

    kind: str
    payload_type: int
    encoding: str = ""
    """In upper case: `H264`, `H265`, `MPEG4-GENERIC`, `PCMU`; empty where it is not told."""
    clock_hz: int = USUAL_CLOCK_HZ
    channels: str = ""
    """Of sound: a slash and their number, where it is told."""
    fmtp: dict[str, str] = field(default_factory=dict)
    control: str = ""


def medias_of(text: str) -> list[Media]:
    """The streams in the order of the description; lines that make no sense are passed by."""
    return session_of(text)[1]


def session_of(text: str) -> tuple[str, list[Media]]:
    """The whole session's control address, and its streams, as `medias_of` gives them."""
    control = ""
    found: list[Media] = []
    for line in text.splitlines():
        kind, _, value = line.strip().partition("=")
        if kind == "m":
            words = value.split()
            payload_type = _number(words[3] if len(words) > 3 else "", -1)
            encoding, clock_hz = _STATIC.get(payload_type, ("", USUAL_CLOCK_HZ))
            found.append(Media(words[0] if words else "", payload_type, encoding, clock_hz))
        elif kind == "a" and found:
            _attribute(found[-1], value)
        elif kind == "a" and value.startswith("control:"):
            control = value.removeprefix("control:").strip()
    return control, found


def _attribute(media: Media, value: str) -> None:
    name, _, rest = value.partition(":")
    if name == "control":
        media.control = rest.strip()
        return
    number, _, rest = rest.strip().partition(" ")
    if name not in {"rtpmap", "fmtp"} or _number(number, -2) != media.payload_type:
        return
    if name == "rtpmap":
        encoding, _, more = rest.strip().partition("/")
        media.encoding = encoding.upper()
        rate, slash, channels = more.strip().partition("/")
        media.clock_hz = _number(rate, 0) or media.clock_hz
        media.channels = f"/{_number(channels, 1)}" if slash else ""
        return
    for parameter in rest.split(";"):
        key, _, content = parameter.strip().partition("=")
        if key:
            media.fmtp[key.lower()] = content.strip()


def _number(text: str, otherwise: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else otherwise


def control_url(base: str, control: str) -> str:
    """Where a stream is set up (RFC 2326, C.1.1). Put together as cameras expect it, not by the rules for
    URLs: some have a query in their base."""
    if not control or control == "*":
        return base
    if control.lower().startswith(("rtsp://", "rtsps://")):
        return control
    return f"{base}{'' if base.endswith('/') else '/'}{control}"


def description_of(medias: list[Media]) -> str:
    """A description of these streams and of nothing else."""
    lines = ["v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=-", "c=IN IP4 0.0.0.0", "t=0 0"]
    for media in medias:
        fmtp = ";".join(f"{name}={value}" if value else name for name, value in media.fmtp.items())
        lines.append(f"m={media.kind} 0 RTP/AVP {media.payload_type}")
        lines.append(f"a=rtpmap:{media.payload_type} {media.encoding}/{media.clock_hz}{media.channels}")
        if fmtp:
            lines.append(f"a=fmtp:{media.payload_type} {fmtp}")
    return "\r\n".join([*lines, ""])
