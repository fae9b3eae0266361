"""ZFS says what is wrong with a pool: `zpool status -x POOL` (zpool-status(8)). Pure."""

from __future__ import annotations

import re

import msgspec

from understudy_recording_server.disk.findings import Finding, damaged, degraded

_FIELD = re.compile(r"^ *(pool|state|status|errors): *(.*)$")
_MEMBER = re.compile(r"^\s+(\S+)\s+(DEGRADED|FAULTED|OFFLINE|REMOVED|UNAVAIL)\b")
_LOST = {"FAULTED", "UNAVAIL", "SUSPENDED", "REMOVED"}
NO_ERRORS = "No known data errors"


class Pool(msgspec.Struct, frozen=True):
    """`members` are the disks that are not online, with their states; `status` is ZFS's own sentence."""

    name: str
    state: str = ""
    status: str = ""
    errors: str = ""
    members: dict[str, str] = {}


def parse_zpool_status(text: str) -> list[Pool]:
    """The pools that are not well. A healthy one is one sentence, which names none of these fields."""
    pools: list[Pool] = []
    field = ""
    for line in text.splitlines():
        if (found := _FIELD.match(line)) is not None:
            field = found[1]
            if field == "pool":
                pools.append(Pool(found[2]))
            elif pools:
                pools[-1] = msgspec.structs.replace(pools[-1], **{field: found[2]})
        elif not pools:
            continue
        elif line.startswith("\t") and (member := _MEMBER.match(line)) is not None:
            if member[1] != pools[-1].name:
                members = {**pools[-1].members, member[1]: member[2]}
                pools[-1] = msgspec.structs.replace(pools[-1], members=members)
        elif field == "status" and line.startswith(("\t", "        ")):
            pools[-1] = msgspec.structs.replace(pools[-1], status=f"{pools[-1].status} {line.strip()}")
        else:
            field = ""
    return pools


def pool_findings(pools: list[Pool], name: str) -> list[Finding]:
    """What is wrong with the pool that the data folder is on."""
    findings: list[Finding] = []
    for pool in pools:
        if pool.name != name:
            continue
        disks = ", ".join(f"{disk} {state.lower()}" for disk, state in pool.members.items())
        detail = disks or pool.status.split(".")[0] or pool.errors
        reason = f"ZFS pool {pool.name} is {pool.state.lower()}" + (f": {detail}" if detail else "")
        if pool.state in _LOST:
            findings.append(damaged(reason))
        elif pool.state == "DEGRADED" or pool.members or pool.errors not in {"", NO_ERRORS}:
            findings.append(degraded(reason))
    return findings
