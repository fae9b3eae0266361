from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

# Tests are imported one by one (importlib mode); this is how they find the helper beside them.
sys.path.insert(0, str(Path(__file__).parent))

from gateway_in_tests import Caller, Gateway, running_gateway


@pytest.fixture
async def gateway(host, database):
    async with running_gateway(host) as running:
        yield running


@pytest.fixture
async def admin(gateway: Gateway) -> Caller:
    return await gateway.log_in()


@pytest.fixture
def chromium() -> str:
    """The path of Debian's chromium; the test skips without it, and fails where tools are required."""
    found = shutil.which("chromium")
    if found is None:
        if os.environ.get("UNDERSTUDY_REQUIRE_TOOLS") == "1":
            pytest.fail("chromium is missing: apt-get install chromium")
        pytest.skip("needs chromium (apt-get install chromium)")
    return found
