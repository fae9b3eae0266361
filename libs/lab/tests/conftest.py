"""What several tests of the lab need."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def ffprobe(require_tool: Callable[[str, str], str]) -> str:
    return require_tool("ffprobe", "ffmpeg")


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Encoded clips are made once for the whole run."""
    return tmp_path_factory.mktemp("clips")
