"""A gateway for tests: the real application, served by uvicorn on a free port in this process, or as a
process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
from understudy_api_gateway.app import serve
from understudy_api_gateway.settings import GatewaySettings
from understudy_contracts.model import Service

ADMINISTRATOR = ("admin", "correct horse battery")


@dataclass
class Gateway:
    url: str
    settings: GatewaySettings
    http: httpx.AsyncClient

    async def log_in(self, username: str = ADMINISTRATOR[0], password: str = ADMINISTRATOR[1]) -> Caller:
        answer = await self.http.post("/api/v1/session", json={"username": username, "password": password})
        assert answer.status_code == 201, answer.text
        return Caller(self.http, answer.json()["token"])


@dataclass
class Caller:
    """A user who is logged in."""

    http: httpx.AsyncClient
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    async def call(self, method: str, path: str, *, expect: int | None = None, **more: Any) -> httpx.Response:
        headers = {**self.headers, **more.pop("headers", {})}
        answer = await self.http.request(method, f"/api/v1{path}", headers=headers, **more)
        if expect is not None:
            assert answer.status_code == expect, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer

    async def get(self, path: str, **more: Any) -> Any:
        return (await self.call("GET", path, expect=200, **more)).json()

    async def add_recording_server(self, name: str, **more: Any) -> Any:
        body = {"name": name, "role": "recording", **more}
        return (await self.call("POST", "/servers", json=body, expect=201)).json()

    async def add_failover_server(self, name: str, **more: Any) -> Any:
        body = {"name": name, "role": "failover", **more}
        warning = (await self.call("POST", "/servers", json=body, expect=409)).json()
        assert warning["type"] == "confirmation-required"
        body["confirmation"] = warning["confirmation"]
        return (await self.call("POST", "/servers", json=body, expect=201)).json()


def settings_of(host: Any, **more: Any) -> GatewaySettings:
    """The settings of this test's gateway."""
    return GatewaySettings(
        **{
            **msgspec.structs.asdict(host.settings(Service.API_GATEWAY)),
            "listen": "127.0.0.1:0",
            "authority": str(host.authority / "account.seed"),
            "trust": str(host.authority / "trust.json"),
            "administrator_password": ADMINISTRATOR[1],
            "service_absence_s": 0.0,  # Few tests run the services, and none starts one late.
            **more,
        }
    )


@asynccontextmanager
async def running_gateway(host: Any, **more: Any) -> AsyncIterator[Gateway]:
    settings = settings_of(host, **more)
    stopping = asyncio.Event()
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(settings, stopping, address.set_result))
    await asyncio.wait({serving, address}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()
    url = await asyncio.wait_for(address, 1)
    try:
        async with httpx.AsyncClient(base_url=url, timeout=30) as http:
            yield Gateway(url, settings, http)
    finally:
        stopping.set()
        await asyncio.wait_for(serving, 15)
