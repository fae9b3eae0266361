"""Passwords: hashed with Argon2 in a thread of their own, few at a time (each takes 64 MB)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_AT_ONCE = 2
_WAITING = 32

R = TypeVar("R")


class Passwords:
    """Hashes and verifies; beyond some that wait, `busy` says so."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="argon2")
        self._under_way = 0
        self._nobody: str | None = None

    @property
    def busy(self) -> bool:
        return self._under_way >= _WAITING

    async def hash(self, password: str) -> str:
        return await self._run(partial(self._hasher.hash, password))

    async def verify(self, password: str, hashed: str | None) -> bool:
        """Whether `password` is the one behind `hashed`; for nobody (None) it takes as long, and is not."""
        return await self._run(partial(self._verify, password, hashed))

    async def prepare(self) -> None:
        """Make the hash that nobody's password is compared with, so that the first login takes no longer."""
        self._nobody = await self.hash("nobody's password")

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[], R]) -> R:
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._under_way -= 1

    def _verify(self, password: str, hashed: str | None) -> bool:
        try:
            matches = self._hasher.verify(hashed or self._nobody or "", password)
        except (VerificationError, InvalidHashError):
            return False
        return matches and hashed is not None
