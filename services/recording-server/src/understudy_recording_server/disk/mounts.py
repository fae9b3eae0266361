"""Which file system a folder is on: /proc/self/mountinfo (proc(5)). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

import msgspec

from understudy_recording_server.disk.findings import Finding, damaged

_READ_ONLY = {"ro", "emergency_ro"}
_ESCAPED = re.compile(r"\\([0-7]{3})")


class Mount(msgspec.Struct, frozen=True):
    """`device` is `major:minor`; `source` is what is mounted, such as /dev/sda1 or a ZFS data set."""

    device: str
    point: str
    kind: str
    source: str
    read_only: bool


def parse_mountinfo(text: str) -> list[Mount]:
    """The mounts, in the kernel's order. Lines that cannot be understood are passed over."""
    return [mount for line in text.splitlines() if (mount := _mount(line)) is not None]


def _mount(line: str) -> Mount | None:
    fields = line.split(" ")
    try:
        separator = fields.index("-", 6)
        kind, source, options = fields[separator + 1 : separator + 4]
    except ValueError:
        return None
    # A bind mount can be read-only while its file system is not, and the other way round. Since Linux 6.14
    # ext4 stays "rw" when it refuses to write after an error, and says emergency_ro.
    read_only = not _READ_ONLY.isdisjoint({*fields[5].split(","), *options.split(",")})
    return Mount(fields[2], _unescaped(fields[4]), kind, _unescaped(source), read_only)


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), text)


def mount_of(path: str, mounts: Iterable[Mount]) -> Mount | None:
    """The mount that an absolute path without links lies on: the last one on the deepest of its folders."""
    folders = {str(PurePosixPath(path)), *(str(parent) for parent in PurePosixPath(path).parents)}
    found: Mount | None = None
    for mount in mounts:
        if mount.point in folders and (found is None or len(mount.point) >= len(found.point)):
            found = mount
    return found


def mount_findings(mount: Mount | None) -> list[Finding]:
    if mount is not None and mount.read_only:
        return [damaged(f"{mount.point} is mounted read-only")]
    return []
