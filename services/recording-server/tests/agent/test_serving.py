"""The machine's web server as it ends."""

from __future__ import annotations

import pytest
from aiohttp import web
from understudy_lab.listening import connection_ends_with
from understudy_recording_server.serving import serving


@pytest.mark.parametrize("rounds", range(6))
async def test_a_connection_ends_with_the_server(rounds: int) -> None:
    assert await connection_ends_with(serving(web.Application(), "127.0.0.1:0"), rounds=rounds)
