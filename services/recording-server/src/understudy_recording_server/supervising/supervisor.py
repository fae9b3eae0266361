"""Keeps a recorder running: told what to record, understood, replaced when it dies, left off while it is
switched off. The process itself and its pipes are in recorder_child.py."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog
from understudy_contracts.machine import Recorder
from understudy_contracts.model import CameraState, RecorderState
from understudy_runtime.clock import Clock
from understudy_runtime.retry import pauses

from understudy_recording_server.live_protocol import StreamName, WatchRequest
from understudy_recording_server.recorder.protocol import (
    Apply,
    Command,
    FileRecovered,
    Happened,
    Ready,
    Report,
    SegmentFinished,
    Stop,
    Trouble,
)
from understudy_recording_server.recorder_start import protocol_id
from understudy_recording_server.supervising.child import RecorderChild
from understudy_recording_server.supervising.evidence import Evidence
from understudy_recording_server.supervising.health import Refusal, recent, recorder_state, refusal_of
from understudy_recording_server.supervising.switch import RecorderSwitch
from understudy_recording_server.wanted import CameraSet

HANGS = "the recorder hangs"

log = structlog.get_logger()


class RecorderSupervisor:
    """Keeps one recorder running. `changed` is called whenever the host should hear of something at once,
    `finished` with each file of footage that is complete."""

    def __init__(
        self,
        data_dir: Path,
        clock: Clock,
        changed: Callable[[], None],
        finished: Callable[[SegmentFinished | FileRecovered], None] = lambda _: None,
        *,
        ended: Callable[[], None] = lambda: None,
        protocol: str | None = None,
    ) -> None:
        """`ended` is called when a recorder has: it may have finished files without a word. `protocol` is
        what the recorder must speak: by default, what this process does."""
        self.evidence = Evidence()
        self._data_dir = data_dir
        self._clock = clock
        self._changed = changed
        self._finished = finished
        self._on_end = ended
        self._sets: dict[str, CameraSet] = {}
        self._events: dict[tuple[str, str], float] = {}
        self._generation = 0
        self._child: RecorderChild | None = None
        self._crashes: list[float] = []
        self._restarts = 0
        self._reason = ""
        self._refusal: Refusal | None = None
        self._switch = RecorderSwitch(data_dir, changed)
        self._protocol = protocol_id() if protocol is None else protocol
        self._news = asyncio.Condition()

    def state(self) -> Recorder:
        hangs = self._child is not None and self._child.hangs
        state = recorder_state(
            self._crashes,
            self._clock.monotonic(),
            disabled=self._switch.disabled,
            refusal=self._refusal,
            hangs=hangs,
        )
        reason = ""
        if state is RecorderState.DISABLED:
            reason = self._switch.disabled or ""
        elif self._refusal is not None:
            reason = self._refusal.reason
        elif state is RecorderState.CRASHING:
            reason = HANGS if hangs else self._reason
        return Recorder(state, self._restarts, reason)

    def want(self, sets: Mapping[str, CameraSet]) -> None:
        """Record exactly these sets from now on, also after a crash; what is unchanged is not touched."""
        for folder in [folder for folder in self._sets if folder not in sets]:
            self._generation += 1
            del self._sets[folder]
            self.evidence.expect(folder, None, self._generation)
            self._send(Stop(folder, self._generation))
        for folder, wanted in sets.items():
            if self._sets.get(folder) == wanted:
                continue
            self._generation += 1
            self._sets[folder] = wanted
            self.evidence.expect(folder, wanted, self._generation)
            self._send(self._apply(folder, wanted))
            # A camera whose settings change is run anew, and knows of no event.
            self._repeat_events(folder)
        self._changed()

    def folder_of(self, camera: str, stream: StreamName = "main") -> str | None:
        """The folder for which this camera runs now; None if it does not, or has no such stream."""
        for folder, wanted in self._sets.items():
            for spec in wanted.cameras:
                if spec.id == camera and (stream == "main" or spec.sub is not None):
                    return folder
        return None

    def happened(self, camera: str) -> float | None:
        """An event at a camera: where it records by event, it records now. For how long (seconds), None if it
        does not run here.

        A recorder that takes over from one that has crashed is told what is left of it.
        """
        folder = self.folder_of(camera)
        if folder is None:
            return None
        for_s = float(self._sets[folder].post_record_s.get(camera, 0))
        self._events[folder, camera] = self._clock.monotonic() + for_s
        self._send(Happened(folder, camera, for_s))
        return for_s

    def _repeat_events(self, folder: str) -> None:
        now = self._clock.monotonic()
        self._events = {key: until for key, until in self._events.items() if until > now}
        for (place, camera), until in self._events.items():
            if place == folder:
                self._send(Happened(folder, camera, until - now))

    @property
    def sets(self) -> Mapping[str, CameraSet]:
        """The cameras that are wanted now, by folder."""
        return self._sets

    def watch(self, request: WatchRequest) -> socket.socket | None:
        """Ask for a camera's live video (child.py); None while there is no recorder to ask."""
        return self._child.watch(request) if self._child is not None else None

    async def wait_stopped(self, folder: str, within_s: float) -> bool:
        """Wait until every file of a folder that is no longer wanted is closed and named."""
        try:
            async with asyncio.timeout(within_s), self._news:
                await self._news.wait_for(lambda: self.evidence.is_stopped(folder))
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Supervise until cancelled; then the recorder finishes its files and ends."""
        self._switch.read()
        watching = asyncio.create_task(self._switch.watch(), name="recorder switch")
        try:
            await self._keep_running()
        finally:
            watching.cancel()

    async def _keep_running(self) -> None:
        waiting = pauses(0.5, 10.0)
        while True:
            if self._switch.disabled is not None:
                await self._switch.turned_from(off=True)
                continue
            child = await self._start()
            if child is not None:
                try:
                    await self._attend_while_enabled(child)
                finally:
                    await child.end()
                self._child = None
                self._ended(child)
            if self.state().state in {RecorderState.RUNNING, RecorderState.DISABLED}:
                waiting = pauses(0.5, 10.0)
            else:
                await asyncio.sleep(next(waiting))

    def _ended(self, child: RecorderChild) -> None:
        """What its end means: it was switched off, it cannot run here, or it crashed."""
        self._on_end()
        if self._switch.disabled is not None:
            log.warning("the recorder is switched off", reason=self._switch.disabled)
            self.evidence.recorder_gone(CameraState.DISABLED, self._switch.disabled)
            self._changed()
            return
        before, self._refusal = self._refusal, refusal_of(child.status, child.last_words)
        if self._refusal is None:
            reason = HANGS if child.hangs else f"the recorder ended with status {child.status}"
            log.error("the recorder crashed", reason=reason)
            self._crashed(reason)
        elif self._refusal != before:
            log.error("no recorder", state=self._refusal.state, reason=self._refusal.reason)
            self.evidence.recorder_gone(CameraState.FAILED, self._refusal.reason)
            self._changed()

    async def _attend_while_enabled(self, child: RecorderChild) -> None:
        attending = asyncio.create_task(child.attend(self._hear, self._changed), name="recorder reports")
        switching = asyncio.create_task(self._switch.turned_from(off=False), name="recorder switched")
        try:
            await asyncio.wait({attending, switching}, return_when=asyncio.FIRST_COMPLETED)
            if attending.done():
                attending.result()
        finally:
            for task in (attending, switching):
                task.cancel()
            # Two readers of one stream cannot be: this one must have let go before the recorder is ended.
            await asyncio.wait({attending, switching})

    async def _start(self) -> RecorderChild | None:
        try:
            child = await RecorderChild.start(self._data_dir, self._protocol)
        except OSError as error:
            self._refusal = Refusal(
                RecorderState.NOT_INSTALLED, f"the recorder cannot be started: {error.strerror}"
            )
            self._changed()
            return None
        self._child = child
        for folder, wanted in self._sets.items():
            self._send(self._apply(folder, wanted))
            self._repeat_events(folder)
        return child

    async def _hear(self, report: Report) -> None:
        match report:
            case Ready():
                self._refusal = None
                log.info("recorder ready", pid=report.pid)
            case Trouble():
                log.warning(
                    "recorder trouble", reason=report.reason, camera=report.camera, folder=report.folder
                )
            case FileRecovered():
                log.info("file recovered", path=report.path, camera=report.camera, cut_bytes=report.cut_bytes)
                self._finished(report)
            case SegmentFinished():
                self._finished(report)
        news = self.evidence.take(report)
        async with self._news:
            self._news.notify_all()
        if news:
            self._changed()

    def _crashed(self, reason: str) -> None:
        now = self._clock.monotonic()
        self._crashes = [*recent(self._crashes, now), now]
        self._restarts += 1
        self._reason = reason
        self.evidence.recorder_gone()
        self._changed()

    def _apply(self, folder: str, wanted: CameraSet) -> Apply:
        return Apply(folder, wanted.cameras, self._generation, wanted.segment_s)

    def _send(self, command: Command) -> None:
        # Without a recorder it is lost: the next one is told everything at its start.
        if self._child is not None:
            self._child.send(command)
