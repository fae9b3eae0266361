"""Agents as in the agent's own tests, and a client that shows them the host's grants."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

_PATH = Path(__file__).parents[1] / "agent" / "conftest.py"
_SPEC = importlib.util.spec_from_file_location("agents_in_media_tests", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
_agents = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = _agents
_SPEC.loader.exec_module(_agents)

clips, cameras, site, wait_for = _agents.clips, _agents.cameras, _agents.site, _agents.wait_for
sys.path.insert(0, str(Path(__file__).parent))


class Viewer:
    """Asks one agent for media, with a good grant unless a test gives another."""

    def __init__(self, http: aiohttp.ClientSession, site: Any, agent: Any, address: str) -> None:
        self.http = http
        self.site = site
        self.agent = agent
        self.address = address

    def grant(self, camera: str, **more: Any) -> str:
        return self.site.grant("media", self.agent.machine, camera=camera, **more)

    def headers(self, camera: str, **more: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.grant(camera)}", **more}

    def url(self, camera: str, path: str) -> str:
        return f"{self.address}/media/cameras/{camera}/{path}"

    async def json(self, camera: str, path: str) -> Any:
        async with self.http.get(self.url(camera, path), headers=self.headers(camera)) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def body(self, camera: str, path: str, expect: int = 200, **headers: str) -> tuple[Any, bytes]:
        wanted = self.headers(camera, **headers)
        async with self.http.get(self.url(camera, path), headers=wanted) as answer:
            body = await answer.read()
            assert answer.status == expect, body[:300]
            return answer.headers, body


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def viewer(http: aiohttp.ClientSession, site: Any) -> Any:
    async def of(agent: Any) -> Viewer:
        beat = await site.beat(agent, lambda beat: bool(beat.address))
        return Viewer(http, site, agent, beat.address)

    return of
