"""What several tests of the lab need."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


def require_tool(name: str) -> str:
    """The path of a program from Debian. Without it the test skips; UNDERSTUDY_REQUIRE_TOOLS=1 fails it."""
    found = shutil.which(name)
    if found is None:
        if os.environ.get("UNDERSTUDY_REQUIRE_TOOLS") == "1":
            pytest.fail(f"{name} is missing, and UNDERSTUDY_REQUIRE_TOOLS=1 is set")
        pytest.skip(f"{name} is missing")
    return found


@pytest.fixture
def ffprobe() -> str:
    return require_tool("ffprobe")


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Encoded clips are made once for the whole run."""
    return tmp_path_factory.mktemp("clips")
