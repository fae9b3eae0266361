"""Other services as processes of their own, as they run in the product."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from understudy_contracts.model import Service


def environment(settings: msgspec.Struct) -> dict[str, str]:
    """The settings of a process as its environment."""
    values = msgspec.structs.asdict(settings)
    wanted = {f"UNDERSTUDY_{key.upper()}": str(value) for key, value in values.items() if value != ""}
    return {"PATH": os.environ["PATH"], **wanted}


@asynccontextmanager
async def running_service(host: Any, service: Service, *, knock: Any) -> AsyncIterator[None]:
    """Run `service`; it is there once `knock` (a coroutine function) no longer raises Unavailable."""
    from understudy_contracts.errors import Unavailable

    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"understudy_{str(service).replace('-', '_')}",
        env=environment(host.settings(service)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(30):
            while True:
                assert process.returncode is None, f"{service} ended with {process.returncode}"
                try:
                    await knock()
                    break
                except Unavailable:
                    await asyncio.sleep(0.1)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), 15)
