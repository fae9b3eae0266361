"""Many connections read by one thread, so that a frame costs no switch between threads.

Beside it a watcher: when the thread waits for a disk, or for anything else, with one camera's frame, another
thread goes on with all the others. (The idea is that of Go's scheduler, which takes a processor from a thread
that is in a system call.)
"""

from __future__ import annotations

import contextlib
import select
import time
from concurrent.futures import Future
from threading import Event, Lock, Thread
from typing import Protocol

REST_A_CONNECTION_S = 0.0005
LONGEST_REST_S = 0.04
"""Between two rounds: what comes meanwhile is read at once. A frame is some ten packets, and waking up
for each would cost more than all else together; few cameras need not wait as long as many."""
CARE_EVERY_S = 0.25
STUCK_S = 0.25
"""After this long with one connection another thread takes over the others."""
_BUFFER_BYTES = 1 << 18


class Connection(Protocol):
    """What is read. All calls come one at a time."""

    def fileno(self) -> int: ...

    def receive(self, buffer: memoryview) -> None:
        """There is something to read, or the connection has ended; `buffer` is free for use. What it raises
        ends the reading."""

    def care(self) -> None:
        """A few times a second, when nothing is left to read. What it raises ends the reading."""


class _Reading:
    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.descriptor = connection.fileno()
        self.ended: Future[None] = Future()
        self.is_aside = False


class ReadLoop:
    """Reads connections until they end. `read` may be called from any thread, and waits."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._guard = Lock()
        self._readings: dict[int, _Reading] = {}
        self._turn = 0
        self._busy_with: _Reading | None = None
        self._busy_since_s = 0.0
        self._is_running = False
        self._closing = Event()

    def read(self, connection: Connection) -> None:
        """Read this connection until it ends; raises what ended it. Returns when the loop is closed."""
        reading = _Reading(connection)
        with self._guard:
            if self._closing.is_set():
                return
            self._readings[reading.descriptor] = reading
            self._epoll.register(reading.descriptor, select.EPOLLIN)
            if not self._is_running:
                self._is_running = True
                self._start()
                Thread(target=self._watch, name="read-loop-watch", daemon=True).start()
        reading.ended.result()

    def close(self) -> None:
        """Read no more. Who waits in `read` goes on; a connection that is being read is read once more."""
        with self._guard:
            self._closing.set()
            left, self._readings = list(self._readings.values()), {}
        for reading in left:
            reading.ended.set_result(None)

    def _start(self) -> None:
        Thread(target=self._run, args=[self._turn], name=f"read-loop-{self._turn}", daemon=True).start()

    def _run(self, turn: int) -> None:
        buffer = memoryview(bytearray(_BUFFER_BYTES))
        care_at_s = time.monotonic() + CARE_EVERY_S
        while not self._closing.is_set():
            for descriptor, _ in self._epoll.poll(CARE_EVERY_S):
                if not self._step(turn, descriptor, buffer):
                    return
            if time.monotonic() >= care_at_s:
                for descriptor in list(self._readings):
                    if not self._step(turn, descriptor, None):
                        return
                care_at_s = time.monotonic() + CARE_EVERY_S
            time.sleep(min(LONGEST_REST_S, REST_A_CONNECTION_S * len(self._readings)))

    def _step(self, turn: int, descriptor: int, buffer: memoryview | None) -> bool:
        """Read, or without a buffer care; whether this thread is to go on."""
        with self._guard:
            if turn != self._turn:
                return False
            reading = self._readings.get(descriptor)
            if reading is None or reading.is_aside:
                return True
            self._busy_with, self._busy_since_s = reading, time.monotonic()
        error: BaseException | None = None
        try:
            if buffer is not None:
                reading.connection.receive(buffer)
            else:
                reading.connection.care()
        except BaseException as raised:  # noqa: BLE001 - it is raised in the thread that waits for it
            error = raised
        with self._guard:
            goes_on = turn == self._turn
            if goes_on:
                self._busy_with = None
            if self._closing.is_set():
                return False
            if error is not None:
                self._remove(reading)
            elif not goes_on:
                self._take_back(reading)
        if error is not None:
            reading.ended.set_exception(error)
        return goes_on

    def _take_back(self, reading: _Reading) -> None:
        if reading.is_aside:
            reading.is_aside = False
            self._epoll.register(reading.descriptor, select.EPOLLIN)

    def _remove(self, reading: _Reading) -> None:
        del self._readings[reading.descriptor]
        if not reading.is_aside:
            with contextlib.suppress(OSError):  # It may have been closed, which ends it as well.
                self._epoll.unregister(reading.descriptor)

    def _watch(self) -> None:
        while not self._closing.wait(STUCK_S / 2):
            with self._guard:
                stuck = self._busy_with
                if self._closing.is_set() or stuck is None or time.monotonic() - self._busy_since_s < STUCK_S:
                    continue
                self._busy_with = None
                stuck.is_aside = True
                self._epoll.unregister(stuck.descriptor)
                self._turn += 1
                self._start()
