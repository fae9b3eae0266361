"""The switch by which people on the machine turn its recorder off: a file in the data folder.

It works with or without a host, over restarts too. What is in the file is the reason that people are told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from understudy_recording_server.own_thread import beside

SWITCH_FILE = "recorder.disabled"
LOOK_EVERY_S = 0.5
REASON_BYTES = 200

log = structlog.get_logger()


class RecorderSwitch:
    """`changed` is called when it was turned."""

    def __init__(self, data_dir: Path, changed: Callable[[], None]) -> None:
        self.disabled: str | None = None
        """Why the recorder is off, in words for people; None while it is on."""
        self._path = data_dir / SWITCH_FILE
        self._changed = changed
        self._turned = asyncio.Event()

    async def watch(self) -> None:
        """Look at the file until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            # Beside the event loop, which must not wait for a sick disk.
            self._stands(await beside(self._look, "recorder switch"))

    async def turned_from(self, *, off: bool) -> None:
        """Wait until it does not stand like that (any more)."""
        while (self.disabled is not None) is off:
            self._turned.clear()
            await self._turned.wait()

    def read(self) -> None:
        """Look at the file now. While it cannot be told how it stands, it stands as before."""
        self._stands(self._look())

    def _look(self) -> str | None:
        try:
            with self._path.open("rb") as file:
                text = file.read(REASON_BYTES).decode("utf-8", "replace").strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            log.debug("the recorder's switch cannot be read", error=error.strerror)
            return self.disabled
        return f"switched off on the machine: {text}" if text else "switched off on the machine"

    def _stands(self, disabled: str | None) -> None:
        if (disabled is None) is not (self.disabled is None):
            self.disabled = disabled
            self._turned.set()
            self._changed()
