"""Asks the machine about the disks under a folder. Everything here may block: for a thread of its own.

What is not there, or may not be read, is no evidence: a machine without these tools is not worse for it.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from understudy_recording_server.disk.btrfs import (
    Counters,
    btrfs_findings,
    parse_device_stats,
    parse_error_stats,
)
from understudy_recording_server.disk.findings import Finding
from understudy_recording_server.disk.mdstat import array_findings, parse_mdstat
from understudy_recording_server.disk.mounts import Mount, mount_of, parse_mountinfo
from understudy_recording_server.disk.smart import parse_smart, smart_findings
from understudy_recording_server.disk.zfs import parse_zpool_status, pool_findings

TOOL_LIMIT_S = 20.0
_SYSTEM_FOLDERS = "/usr/sbin:/usr/bin:/sbin:/bin"


def read_mount(folder: Path) -> Mount | None:
    """The mount that a folder lies on; None when the kernel does not say."""
    try:
        text = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
        return mount_of(str(folder.resolve()), parse_mountinfo(text))
    except OSError:
        return None


def survey(folders: Iterable[Path]) -> list[Finding]:
    """What arrays, file systems and disks under `folders` report; each file system is asked once."""
    mounts = {mount.device: mount for folder in folders if (mount := read_mount(folder)) is not None}
    if not mounts:
        return []
    devices = frozenset[str]().union(*(_block_devices(mount) for mount in mounts.values()))
    findings = array_findings(parse_mdstat(_text(Path("/proc/mdstat"))), devices)
    for mount in mounts.values():
        if mount.kind == "btrfs":
            findings += _btrfs(mount)
        elif mount.kind == "zfs":
            pool = mount.source.split("/")[0]
            findings += pool_findings(parse_zpool_status(_said("zpool", "status", "-x", pool)), pool)
    for disk in sorted(device for device in devices if _is_disk(device)):
        said = _said("smartctl", "--json", "-H", "-A", "--nocheck=standby", f"/dev/{disk}")
        findings += smart_findings(disk, parse_smart(said.encode()))
    return findings


def _block_devices(mount: Mount) -> frozenset[str]:
    """The block device of a mount, and those that it is made of: sysfs, `slaves` and partitions."""
    block = Path("/sys/class/block")
    name = Path(mount.source).resolve().name if mount.source.startswith("/dev/") else ""
    by_number = Path("/sys/dev/block") / mount.device
    if by_number.exists():
        name = by_number.resolve().name
    found: set[str] = set()
    waiting = [name] if name and (block / name).exists() else []
    while waiting:
        device = waiting.pop()
        if device in found:
            continue
        found.add(device)
        where = (block / device).resolve()
        if (where / "partition").exists():
            waiting.append(where.parent.name)
        if (where / "slaves").is_dir():
            waiting.extend(path.name for path in (where / "slaves").iterdir())
    return frozenset(found)


def _is_disk(device: str) -> bool:
    # Real disks have a device behind them; arrays, mappings and loops have none.
    return Path("/sys/class/block", device, "device").exists()


def _btrfs(mount: Mount) -> list[Finding]:
    counters: Counters = {}
    missing: list[str] = []
    member = Path(mount.source).resolve().name
    for system in Path("/sys/fs/btrfs").glob("*-*"):
        if not (system / "devices" / member).exists():
            continue
        for device in system.glob("devinfo/*"):
            if _text(device / "missing").strip() == "1":
                missing.append(device.name)
            if (errors := parse_error_stats(_text(device / "error_stats"))) != {}:
                counters[f"disk {device.name}"] = errors
    if not counters:
        counters = parse_device_stats(_said("btrfs", "device", "stats", mount.point))
    return btrfs_findings(counters, missing)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _said(tool: str, *arguments: str) -> str:
    """What a tool prints, whatever its status: theirs tell what they found. Nothing if it is not there."""
    program = shutil.which(tool, path=_SYSTEM_FOLDERS)
    if program is None:
        return ""
    try:
        done = subprocess.run(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TOOL_LIMIT_S,
            check=False,
            env={"PATH": _SYSTEM_FOLDERS, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    # Names of disks and pools may be in any encoding.
    return done.stdout.decode("utf-8", "replace")
