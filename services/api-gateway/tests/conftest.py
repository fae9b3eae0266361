from __future__ import annotations

import sys
from pathlib import Path

import pytest

# Tests are imported one by one (importlib mode); this is how they find the helper beside them.
sys.path.insert(0, str(Path(__file__).parent))

from gateway import Caller, Gateway, running_gateway


@pytest.fixture
async def gateway(host, database):
    async with running_gateway(host) as running:
        yield running


@pytest.fixture
async def admin(gateway: Gateway) -> Caller:
    return await gateway.log_in()
