"""Writes the pages under docs/ that are made from the code, so that they cannot disagree with it."""

from __future__ import annotations

from pathlib import Path

from understudy_orchestrator.transitions import mermaid

DOCS = Path(__file__).parent


def failover_phases() -> str:
    return (
        "# The phases of a failover\n\n"
        "Made from the table in `services/orchestrator` (`transitions.py`) by `just docs`.\n\n"
        f"```mermaid\n{mermaid()}```\n"
    )


PAGES = {"failover-phases.md": failover_phases}


def main() -> None:
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
