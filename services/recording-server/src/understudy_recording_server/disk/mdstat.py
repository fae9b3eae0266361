"""Linux software RAID: /proc/mdstat (md(4); the format is that of the kernel's md_seq_show). Pure."""

from __future__ import annotations

import re

import msgspec

from understudy_recording_server.disk.findings import Finding, damaged, degraded

_ARRAY = re.compile(r"(md\S*) : (.+)")
_COUNTS = re.compile(r"\[(\d+)/(\d+)\]")
_MEMBERS = re.compile(r"\[([U_]+)\]")
_FAILED = re.compile(r"(\S+?)\[\d+\]\S*\(F\)")
_PROGRESS = re.compile(r"(recovery|resync|reshape|check)\s*=\s*([\d.]+)%")


class Array(msgspec.Struct, frozen=True):
    """One array. `wanted` and `working` count its disks; both are 0 for levels without spare disks."""

    name: str
    state: str
    wanted: int = 0
    working: int = 0
    failed: list[str] = []
    progress: str = ""


def parse_mdstat(text: str) -> list[Array]:
    """The arrays, in the file's order."""
    arrays: list[Array] = []
    for line in text.splitlines():
        if (begins := _ARRAY.match(line)) is not None:
            words = begins[2].split()
            arrays.append(Array(begins[1], words[0], failed=_FAILED.findall(begins[2])))
        elif arrays and line.startswith(" "):
            arrays[-1] = _detailed(arrays[-1], line)
    return arrays


def _detailed(array: Array, line: str) -> Array:
    if (counts := _COUNTS.search(line)) is not None:
        wanted, working = int(counts[1]), int(counts[2])
        if (members := _MEMBERS.search(line)) is not None:
            # Just after a failure the count still has the disk that the letters miss.
            working = min(working, members[1].count("U"))
        array = msgspec.structs.replace(array, wanted=wanted, working=working)
    if (progress := _PROGRESS.search(line)) is not None:
        array = msgspec.structs.replace(array, progress=f"{progress[1]} {progress[2]} %")
    return array


def array_findings(arrays: list[Array], devices: frozenset[str]) -> list[Finding]:
    """What is wrong with those arrays that are among `devices`, the block devices under the data folder."""
    findings: list[Finding] = []
    for array in arrays:
        if array.name not in devices:
            continue
        failed = f" ({', '.join(array.failed)} failed)" if array.failed else ""
        if array.state in {"inactive", "broken"}:
            findings.append(damaged(f"RAID array {array.name} is {array.state}{failed}"))
        elif array.working < array.wanted:
            progress = f", {array.progress}" if array.progress else ""
            findings.append(
                degraded(
                    f"RAID array {array.name} has {array.working} of {array.wanted} disks{failed}{progress}"
                )
            )
    return findings
