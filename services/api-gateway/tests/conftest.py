from __future__ import annotations

import sys
from collections.abc import Callable
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
def chromium(require_tool: Callable[[str, str], str]) -> str:
    """The path of Debian's chromium."""
    return require_tool("chromium", "chromium")
