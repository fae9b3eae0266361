"""Many connections read by one thread, so that a frame costs no switch between threads.

A connection on which that thread would wait gets a thread of its own for some time, as a slow or hanging disk
makes of a camera that is recorded on it: one that holds the thread up at once, and those that took the most
time when the thread waits more than it works. (Go's scheduler takes a processor from a thread that is in a
system call in the same way.)
"""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Callable
from concurrent.futures import Future
from threading import Event, Lock, Thread
from typing import Protocol

REST_A_CONNECTION_S = 0.001
LONGEST_REST_S = 0.08
"""Between two rounds: what comes meanwhile is read at once. A frame is some ten packets, and waking up
for each would cost more than all else together; few cameras need not wait as long as many."""
CARE_EVERY_S = 0.25
STUCK_S = 0.25
"""After this long with one connection the others get another thread."""
STUCK_AGAIN_S = 0.02
"""The same while one is stuck: a disk hangs for all who write to it."""
MOST_BUSY = 0.7
"""Of the time: a thread that is busier, and works less than half of it, waits for something."""
BUSY_LOOKS = 4
"""So many times in a row: while many cameras are opened, it waits for those who do that."""
ALONE_S = 10.0
"""A connection with a thread of its own goes back to the others after so long; if it must leave them again
soon, for twice as long. What a thread waits for, a disk or its turn in the interpreter, it cannot tell."""
LONGEST_ALONE_S = 300.0
FORGIVEN_S = 60.0
"""After so long among the others it begins with `ALONE_S` again."""
_BUFFER_BYTES = 1 << 18
_OWN_BUFFER_BYTES = 1 << 16
"""Of a connection's own thread: there may be as many as cameras."""


class Connection(Protocol):
    """What is read. All calls come one at a time, but from different threads."""

    def fileno(self) -> int: ...

    def receive(self, buffer: memoryview) -> None:
        """There is something to read, or the connection has ended; `buffer` is free for use. What it raises
        ends the reading."""

    def care(self) -> None:
        """A few times a second. What it raises ends the reading."""


class _Reading:
    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.descriptor = connection.fileno()
        self.ended: Future[None] = Future()
        self.is_aside = False
        """Whether it has a thread of its own."""
        self.alone_s = ALONE_S
        self.back_at_s = time.monotonic()
        self.took_s = 0.0
        """Of the shared thread's time, since it last looked."""

    def step(self, buffer: memoryview | None) -> BaseException | None:
        """Read, or without a buffer care; what ended it, if something did."""
        try:
            if buffer is not None:
                self.connection.receive(buffer)
            else:
                self.connection.care()
        except BaseException as raised:  # noqa: BLE001 - it is raised in the thread that waits for it
            return raised
        return None


class ReadLoop:
    """Reads connections until they end. `read` may be called from any thread, and waits."""

    def __init__(self, trouble: Callable[[Exception], None]) -> None:
        """`trouble` is told of what must not happen: the loop goes on."""
        self._trouble = trouble
        self._epoll = select.epoll()
        self._guard = Lock()
        self._readings: dict[int, _Reading] = {}
        self._turn = 0
        self._busy_with: _Reading | None = None
        self._busy_since_s = 0.0
        self._stuck: set[_Reading] = set()
        self._busy_looks = 0
        self._is_running = False
        self._closing = Event()

    def read(self, connection: Connection) -> None:
        """Read this connection until it ends; raises what ended it. Returns when the loop is closed."""
        reading = _Reading(connection)
        with self._guard:
            if self._closing.is_set():
                return
            if not self._is_running:
                _start("read-loop-watch", self._watch)
                _start(f"read-loop-{self._turn}", self._run, self._turn)
                self._is_running = True
            self._epoll.register(reading.descriptor, select.EPOLLIN)
            self._readings[reading.descriptor] = reading
        reading.ended.result()

    def close(self) -> None:
        """Read no more. Who waits in `read` goes on; a connection that is being read is read once more."""
        with self._guard:
            self._closing.set()
            left, self._readings = list(self._readings.values()), {}
        for reading in left:
            reading.ended.set_result(None)

    def _run(self, turn: int) -> None:
        """The shared thread, until it is stuck and another has taken its place."""
        buffer = memoryview(bytearray(_BUFFER_BYTES))
        while not self._closing.is_set():
            try:
                if not self._look(turn, buffer):
                    return
            except Exception as error:  # noqa: BLE001 - all cameras would stop
                self._trouble(error)
                time.sleep(LONGEST_REST_S)

    def _look(self, turn: int, buffer: memoryview) -> bool:
        """Read for a while, then care for all; whether this thread is to go on."""
        began_s, worked_s = time.monotonic(), time.thread_time()
        passed_s = 0.0
        while passed_s < CARE_EVERY_S:
            for descriptor, _ in self._epoll.poll(CARE_EVERY_S):
                if not self._step(turn, descriptor, buffer):
                    return False
            time.sleep(min(LONGEST_REST_S, REST_A_CONNECTION_S * len(self._readings)))
            passed_s = time.monotonic() - began_s
        for descriptor in list(self._readings):
            if not self._step(turn, descriptor, None):
                return False
        self._spread(turn, passed_s, time.thread_time() - worked_s)
        return True

    def _step(self, turn: int, descriptor: int, buffer: memoryview | None) -> bool:
        """Whether this thread is to go on."""
        with self._guard:
            if turn != self._turn:
                return False
            reading = self._readings.get(descriptor)
            if reading is None or reading.is_aside:
                return True
            began_s = time.monotonic()
            self._busy_with, self._busy_since_s = reading, began_s
        error = reading.step(buffer)
        with self._guard:
            goes_on = turn == self._turn
            if goes_on:
                self._busy_with = None
                reading.took_s += time.monotonic() - began_s
        if error is not None:
            self._end(reading, error)
        elif not goes_on:
            self._run_alone(reading)
        return goes_on

    def _spread(self, turn: int, passed_s: float, worked_s: float) -> None:
        """Give threads of their own to those that the shared one waits for the most, if it waits too much."""
        readings = [reading for reading in list(self._readings.values()) if not reading.is_aside]
        busy_s = sum(reading.took_s for reading in readings)
        is_waiting = busy_s > MOST_BUSY * passed_s and worked_s < busy_s / 2
        self._busy_looks = self._busy_looks + 1 if is_waiting else 0
        if self._busy_looks >= BUSY_LOOKS:
            slowest = sorted(readings, key=lambda reading: reading.took_s, reverse=True)
            for reading in slowest[: 1 + len(slowest) // 4]:
                with self._guard:
                    if turn != self._turn:
                        return
                    if reading.is_aside or self._readings.get(reading.descriptor) is not reading:
                        continue
                    # First: without a thread nothing must have changed.
                    _start(f"read-{reading.descriptor}", self._run_alone, reading)
                    self._put_aside(reading)
        for reading in readings:
            reading.took_s = 0.0

    def _run_alone(self, reading: _Reading) -> None:
        """A connection's own thread, for some time."""
        with self._guard:  # Who started this thread has put the reading aside by now.
            self._stuck.discard(reading)
        buffer = memoryview(bytearray(_OWN_BUFFER_BYTES))
        poll = select.poll()
        poll.register(reading.descriptor, select.POLLIN)
        care_at_s = time.monotonic()
        until_s = care_at_s + reading.alone_s
        while not self._closing.is_set():
            ready = poll.poll(CARE_EVERY_S * 1000)
            error = reading.step(buffer) if ready else None
            now_s = time.monotonic()
            if error is None and now_s >= care_at_s:
                error = reading.step(None)
                care_at_s = now_s + CARE_EVERY_S
            if error is not None:
                self._end(reading, error)
                return
            if now_s >= until_s:
                self._take_back(reading)
                return
            time.sleep(LONGEST_REST_S)

    def _put_aside(self, reading: _Reading) -> None:
        reading.is_aside = True
        reading.took_s = 0.0
        if time.monotonic() - reading.back_at_s > FORGIVEN_S:
            reading.alone_s = ALONE_S
        with contextlib.suppress(OSError):  # It may have been closed, which does the same.
            self._epoll.unregister(reading.descriptor)

    def _take_back(self, reading: _Reading) -> None:
        with self._guard:
            if self._closing.is_set():
                return
            reading.alone_s = min(2 * reading.alone_s, LONGEST_ALONE_S)
            reading.back_at_s = time.monotonic()
            reading.is_aside = False
            self._epoll.register(reading.descriptor, select.EPOLLIN)

    def _end(self, reading: _Reading, error: BaseException) -> None:
        with self._guard:
            if self._readings.get(reading.descriptor) is not reading:
                return  # The loop has been closed.
            del self._readings[reading.descriptor]
            self._stuck.discard(reading)
            if not reading.is_aside:
                self._put_aside(reading)
        reading.ended.set_exception(error)

    def _watch(self) -> None:
        while not self._closing.wait(STUCK_AGAIN_S / 2 if self._stuck else STUCK_S / 2):
            with self._guard:
                reading = self._busy_with
                limit_s = STUCK_AGAIN_S if self._stuck else STUCK_S
                if reading is None or time.monotonic() - self._busy_since_s < limit_s:
                    continue
                try:
                    _start(f"read-loop-{self._turn + 1}", self._run, self._turn + 1)
                except RuntimeError as error:  # No more threads: the others wait.
                    self._trouble(error)
                    continue
                self._turn += 1
                self._busy_with = None
                self._stuck.add(reading)
                self._put_aside(reading)


def _start(name: str, target: Callable[..., None], *arguments: object) -> None:
    Thread(target=target, args=arguments, name=name, daemon=True).start()
