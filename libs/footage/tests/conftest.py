"""A real fragmented MP4 file, as the recorder writes it."""

import pytest
from understudy_lab.fragmented import fragmented_mp4


@pytest.fixture(scope="session")
def mp4() -> bytes:
    return fragmented_mp4(frames=20)
