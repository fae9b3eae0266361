"""btrfs counts the errors of each of its disks: sysfs since Linux 5.14, `btrfs device stats` before. Pure."""

from __future__ import annotations

import re

from understudy_recording_server.disk.findings import Finding, degraded

_STATS = re.compile(r"\[(?P<device>[^\]]+)\]\.(?P<kind>\w+?)_(?:io_)?errs\s+(?P<count>\d+)")
_SYSFS = re.compile(r"(?P<kind>\w+?)_errs\s+(?P<count>\d+)")

Counters = dict[str, dict[str, int]]
"""By device, then by kind: write, read, flush, corruption, generation."""


def parse_device_stats(text: str) -> Counters:
    """The output of `btrfs device stats PATH`."""
    counters: Counters = {}
    for found in _STATS.finditer(text):
        counters.setdefault(found["device"], {})[found["kind"]] = int(found["count"])
    return counters


def parse_error_stats(text: str) -> dict[str, int]:
    """One device's `/sys/fs/btrfs/<uuid>/devinfo/<id>/error_stats`."""
    return {found["kind"]: int(found["count"]) for found in _SYSFS.finditer(text)}


def btrfs_findings(counters: Counters, missing: list[str]) -> list[Finding]:
    """The counters are btrfs's memory: they stay until somebody has looked and resets them."""
    findings = [degraded(f"btrfs misses its disk {device}") for device in missing]
    for device, kinds in counters.items():
        errors = [f"{count} {kind}" for kind, count in kinds.items() if count]
        if errors:
            findings.append(
                degraded(
                    f"btrfs has counted errors of {device}: {', '.join(errors)} "
                    "(after mending: btrfs device stats --reset)"
                )
            )
    return findings
