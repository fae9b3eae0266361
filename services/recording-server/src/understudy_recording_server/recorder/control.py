"""The recorder's life: commands in, reports out, files finished at the end."""

from __future__ import annotations

import os
import signal
from queue import SimpleQueue
from threading import Event, Thread, Timer
from typing import BinaryIO

from understudy_contracts.errors import UnderstudyError
from understudy_footage import FootageRoot
from understudy_runtime.clock import Clock

from understudy_recording_server.recorder.door import Door
from understudy_recording_server.recorder.fleet import Fleet
from understudy_recording_server.recorder.memory import GIVE_BACK_EVERY_S, give_back
from understudy_recording_server.recorder.protocol import (
    Apply,
    CameraChanged,
    FirstKeyFrame,
    Happened,
    Ready,
    Report,
    Shutdown,
    Status,
    Stop,
    Trouble,
    decode_command,
)
from understudy_recording_server.recorder.reports import Reporter
from understudy_recording_server.recorder.startup import left_by_crash, recover_all

STATUS_S = 1.0
STATUS_AFTER_CHANGE_S = 0.05
"""Changes come in bursts, when many cameras start: one status for all of a burst."""
PATIENCE_S = 15.0
MAXIMUM_LINE_BYTES = 32 << 20


class Recorder:
    """Runs until it is told to end, its input ends, nobody reads its output, or it gets SIGTERM."""

    def __init__(
        self,
        data: FootageRoot,
        commands: BinaryIO,
        output: int,
        clock: Clock,
        segment_s: float,
        live: int | None = None,
    ) -> None:
        """`live`: the descriptor of the socket on which live video is asked for; None: nobody will."""
        self._data = data
        self._commands = commands
        self._clock = clock
        # The queue is what wakes the main thread, from other threads and from the signal handler alike
        # (SimpleQueue.put may be called while it is itself being called).
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()
        self._changed = Event()
        self._ending = Event()
        self._reporter = Reporter(output, on_gone=lambda: self._queue.put(None))
        self._fleet = Fleet(data, self._report, clock, segment_s)
        self._door = Door(live, self._fleet) if live is not None else None

    def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: self._queue.put(None))
        left = left_by_crash(self._data, self._report)
        self._report(Ready(os.getpid(), self._clock.wall_ms()))
        recovering = Thread(
            target=recover_all,
            args=(self._data, left, self._report, self._ending),
            name="recovery",
            daemon=True,
        )
        recovering.start()
        Thread(target=self._listen, name="commands", daemon=True).start()
        if self._door is not None:
            self._door.open()
        statuses = Thread(target=self._tell_status, name="statuses", daemon=True)
        statuses.start()
        while (line := self._queue.get()) is not None:
            if not self._obey(line):
                break
        self._ending.set()
        self._changed.set()
        # A disk that hangs must not keep us alive for ever once we have been told to end.
        watchdog = Timer(PATIENCE_S, os._exit, [1])
        watchdog.daemon = True
        watchdog.start()
        self._fleet.close()
        recovering.join()
        self._reporter.close(timeout_s=2.0)

    def _listen(self) -> None:
        while line := self._commands.readline(MAXIMUM_LINE_BYTES):
            if not line.endswith(b"\n"):
                break  # Cut off midway, by the agent's death or by its size: not a command to act on.
            self._queue.put(line)
        self._queue.put(None)

    def _obey(self, line: bytes) -> bool:
        try:
            command = decode_command(line)
            match command:
                case Shutdown():
                    return False
                case Stop():
                    self._fleet.apply(Apply(command.folder, [], command.generation))
                case Happened():
                    self._fleet.happened(command.folder, command.camera, command.for_s)
                case Apply():
                    self._fleet.apply(command)
        except UnderstudyError as error:
            self._report(Trouble(error.message))
        return True

    def _report(self, report: Report) -> None:
        self._reporter.send(report)
        if isinstance(report, CameraChanged | FirstKeyFrame):
            self._changed.set()

    def _tell_status(self) -> None:
        due = self._clock.monotonic() + STATUS_S
        give_back_at = self._clock.monotonic() + GIVE_BACK_EVERY_S
        while not self._ending.is_set():
            if self._changed.wait(max(0.0, due - self._clock.monotonic())):
                self._ending.wait(STATUS_AFTER_CHANGE_S)
                self._changed.clear()
            measure = self._clock.monotonic() >= due
            if measure:
                due += STATUS_S
                if due < self._clock.monotonic():
                    due = self._clock.monotonic() + STATUS_S  # We were suspended: do not catch up.
            if self._clock.monotonic() >= give_back_at:
                give_back_at = self._clock.monotonic() + GIVE_BACK_EVERY_S
                give_back()
            self._reporter.send(Status(self._clock.wall_ms(), self._fleet.statuses(measure=measure)))
