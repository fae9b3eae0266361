"""What a disk says of itself: `smartctl --json -H -A DEVICE` (smartmontools 7 and later). Pure."""

from __future__ import annotations

import msgspec

from understudy_recording_server.disk.findings import Finding, damaged, degraded

_UNREADABLE = {197: "sectors that wait to be replaced", 198: "sectors that cannot be read"}
_NVME_READ_ONLY = 0x08
_NVME_WARNINGS = {
    0x01: "its spare blocks run out",
    0x02: "it is too hot or too cold",
    0x04: "it is no longer reliable",
    0x10: "its memory backup has failed",
}


class _Raw(msgspec.Struct, frozen=True):
    value: int = 0


class _Attribute(msgspec.Struct, frozen=True):
    id: int
    raw: _Raw = _Raw()


class _Attributes(msgspec.Struct, frozen=True):
    table: list[_Attribute] = []


class _Status(msgspec.Struct, frozen=True):
    passed: bool


class _Nvme(msgspec.Struct, frozen=True):
    critical_warning: int = 0


class Smart(msgspec.Struct, frozen=True):
    """What counts of smartctl's answer. All of it is missing for disks without SMART."""

    smart_status: _Status | None = None
    ata_smart_attributes: _Attributes | None = None
    nvme_smart_health_information_log: _Nvme | None = None


_decoder = msgspec.json.Decoder(Smart)


def parse_smart(text: bytes) -> Smart:
    """An answer that cannot be understood says nothing."""
    try:
        return _decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Smart()


def smart_findings(disk: str, smart: Smart) -> list[Finding]:
    findings: list[Finding] = []
    nvme = smart.nvme_smart_health_information_log
    if nvme is not None and nvme.critical_warning & _NVME_READ_ONLY:
        findings.append(damaged(f"disk {disk} has made itself read-only (SMART)"))
    if smart.smart_status is not None and not smart.smart_status.passed:
        findings.append(degraded(f"disk {disk} says that it is failing (SMART)"))
    if nvme is not None:
        findings.extend(
            degraded(f"disk {disk} warns that {text} (SMART)")
            for bit, text in _NVME_WARNINGS.items()
            if nvme.critical_warning & bit
        )
    attributes = smart.ata_smart_attributes.table if smart.ata_smart_attributes else []
    for attribute in attributes:
        # The upper bytes of the raw value belong to the maker; the count is in the lower four.
        count = attribute.raw.value & 0xFFFFFFFF
        if attribute.id in _UNREADABLE and count:
            findings.append(degraded(f"disk {disk} has {count} {_UNREADABLE[attribute.id]} (SMART)"))
    return findings
