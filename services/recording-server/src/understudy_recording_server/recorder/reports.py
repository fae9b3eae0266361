"""What the recorder says, on its way to the agent: from any thread, never blocking it."""

from __future__ import annotations

import os
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

from understudy_recording_server.recorder.protocol import Report, Status, encode

BACKLOG = 20_000
"""An agent that does not read loses statuses from this many reports on: the next one repeats them."""


class Reporter:
    """A queue and a thread that writes it to a file descriptor, a line a report."""

    def __init__(self, descriptor: int, on_gone: Callable[[], None]) -> None:
        """`on_gone` is called once, from another thread, when nobody reads any more."""
        self._descriptor = descriptor
        self._on_gone = on_gone
        self._queue: SimpleQueue[Report | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="reporter", daemon=True)
        self._thread.start()

    def send(self, report: Report) -> None:
        if isinstance(report, Status) and self._queue.qsize() > BACKLOG:
            return
        self._queue.put(report)

    def close(self, timeout_s: float) -> None:
        """Wait until everything has been written, at most this long."""
        self._queue.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        gone = False
        while (report := self._queue.get()) is not None:
            if gone:
                continue
            try:
                view = memoryview(encode(report))
                while view:
                    view = view[os.write(self._descriptor, view) :]
            except OSError:
                gone = True
                self._on_gone()
