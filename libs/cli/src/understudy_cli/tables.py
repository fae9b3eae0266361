"""What the API tells, as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from rich.table import Table
from rich.text import Text

_HEALTH_HEADINGS: Final = ("LAST FRAME", "BITRATE", "FPS", "RECONNECTS", "CLOCK")
CAMERA_HEADINGS: Final = ("CAMERA", "NAME", "SERVER", "SOURCE", "STATE", *_HEALTH_HEADINGS, "REASON")

_STYLES = {
    "normal": "green",
    "standby": "green",
    "failed-over": "yellow",
    "disconnected": "red",
    "incompatible": "red",
    "others": "yellow",
    "disabled": "dim",
}


def plain_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table of texts, shown as they are: names that people gave are never taken for markup."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    return table


def server_table(servers: Iterable[dict[str, Any]]) -> Table:
    """Servers as `GET /servers` gives them."""
    return plain_table(
        ["SERVER", "ROLE", "STATUS", "PROTECTED", "CAMERAS", "FAILOVER", "REASON"],
        (
            (
                server["name"],
                server["role"],
                Text(server["status"], _STYLES.get(server["status"], "")),
                protected_words(server),
                camera_words(server),
                failover_words(server.get("failover")),
                server.get("reason") or "",
            )
            for server in servers
        ),
    )


def protected_words(server: dict[str, Any]) -> str:
    if server["role"] != "recording":
        return ""
    return "yes" if server.get("protected") else server.get("protection") or "no"


def camera_words(server: dict[str, Any]) -> str:
    cameras = server.get("cameras") or {}
    return f"{cameras.get('active', 0)}/{cameras.get('maximum', 0)}"


def failover_words(failover: dict[str, Any] | None) -> str:
    """`f-3 restoring 40 % with spare-1`."""
    if not failover:
        return ""
    words = [failover["id"], failover["phase"]]
    if failover.get("percent") is not None:
        words.append(f"{failover['percent']:.0f} %")
    partner = failover.get("partner_name") or failover.get("partner")
    if partner:
        words.append(f"with {partner}")
    if failover.get("waiting_for"):
        words.append(f"(waits: {failover['waiting_for']})")
    return " ".join(words)


def health_words(health: dict[str, Any] | None) -> tuple[str, str, str, str, str]:
    """A camera's last frame, bitrate, frame rate, reconnects and clock skew, for `CAMERA_HEADINGS`."""
    if not health:
        return "", "", "", "", ""
    skew = health.get("clock_skew_ms")
    return (
        time_words(health.get("last_frame_at")),
        f"{health.get('bitrate_bps', 0) / 1_000_000:.2f} Mbit/s",
        f"{health.get('fps', 0.0):.1f}",
        str(health.get("reconnects", 0)),
        "" if skew is None else f"{skew / 1000:+.1f} s",
    )


def time_words(time_ms: int | None) -> str:
    """A time in UTC milliseconds, as this machine's clock on the wall shows it."""
    if time_ms is None:
        return ""
    return datetime.fromtimestamp(time_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")
