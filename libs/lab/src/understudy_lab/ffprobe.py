"""What ffprobe, which nobody here wrote, says of a file of footage."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

_WITHIN_S = 60.0


class Complaint(ValueError):
    """Something is wrong with the file; the message is ffprobe's."""


async def probe(path: Path, program: str = "ffprobe") -> list[dict[str, Any]]:
    """The streams of a file, video first, each with the number of its packets (`nb_read_packets`) and of the
    frames that could be decoded (`nb_read_frames`).

    Raises:
        Complaint: it has an error anywhere.
        FileNotFoundError: ffprobe is not installed (Debian's package ffmpeg).
    """
    process = await asyncio.create_subprocess_exec(
        program, "-v", "error", "-count_frames", "-count_packets", "-show_streams", "-of", "json", str(path),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(_WITHIN_S):
        found, complaints = await process.communicate()
    if complaints or process.returncode:
        raise Complaint(f"{path}: {complaints.decode(errors='replace').strip()}")
    streams: list[dict[str, Any]] = msgspec.json.decode(found)["streams"]
    return sorted(streams, key=lambda stream: stream["codec_type"] != "video")
