"""The recorder as a child process: started, told what to record, restarted when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import structlog
from understudy_contracts.errors import InvalidMessage
from understudy_contracts.machine import Recorder
from understudy_contracts.model import CameraState, RecorderState
from understudy_runtime.clock import Clock
from understudy_runtime.configuration import PREFIX
from understudy_runtime.retry import pauses

from understudy_recording_server.evidence import Evidence
from understudy_recording_server.live_protocol import WatchRequest
from understudy_recording_server.recorder.protocol import (
    Apply,
    Command,
    FileRecovered,
    Happened,
    Ready,
    SegmentFinished,
    Shutdown,
    Stop,
    Trouble,
    decode_report,
    encode,
)
from understudy_recording_server.recorder_health import Refusal, recent, recorder_state, refusal_of
from understudy_recording_server.recorder_start import protocol_id
from understudy_recording_server.recorder_switch import RecorderSwitch
from understudy_recording_server.wanted import CameraSet

MAXIMUM_LINE_BYTES = 64 << 20
SILENCE_S = 3.0
"""It speaks every second. Silent this long, people are told; twice as long, a new one takes its place."""
HANGS = "the recorder hangs"
START_S = 120.0
"""Before it is ready it finishes what a crash had left, which a slow disk may draw out."""
ENDING_S = 17.0
"""The recorder itself gives up on a hanging disk after 15 s."""

log = structlog.get_logger()


class RecorderProcess:
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
        self._process: asyncio.subprocess.Process | None = None
        self._ready = False
        self._crashes: list[float] = []
        self._restarts = 0
        self._reason = ""
        self._hangs = False
        self._refusal: Refusal | None = None
        self._last_words = ""
        self._switch = RecorderSwitch(data_dir, changed)
        self._protocol = protocol_id() if protocol is None else protocol
        self._news = asyncio.Condition()
        # What live video is asked for with; replaced with each recorder.
        self._live = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def state(self) -> Recorder:
        state = recorder_state(
            self._crashes,
            self._clock.monotonic(),
            disabled=self._switch.disabled,
            refusal=self._refusal,
            hangs=self._hangs,
        )
        reason = ""
        if state is RecorderState.DISABLED:
            reason = self._switch.disabled or ""
        elif self._refusal is not None:
            reason = self._refusal.reason
        elif state is RecorderState.CRASHING:
            reason = HANGS if self._hangs else self._reason
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
        self._changed()

    def folder_of(self, camera: str) -> str | None:
        """The folder for which this camera runs now; None if it does not."""
        for folder, wanted in self._sets.items():
            if any(spec.id == camera for spec in wanted.cameras):
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

    def _repeat_events(self) -> None:
        now = self._clock.monotonic()
        self._events = {key: until for key, until in self._events.items() if until > now}
        for (folder, camera), until in self._events.items():
            self._send(Happened(folder, camera, until - now))

    @property
    def sets(self) -> Mapping[str, CameraSet]:
        """The cameras that are wanted now, by folder."""
        return self._sets

    def watch(self, request: WatchRequest) -> socket.socket | None:
        """Ask for a camera's live video; it comes on the socket that is returned (live_protocol.py), until
        either side closes it. None while there is no recorder to ask."""
        if self._process is None:
            return None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            socket.send_fds(self._live, [msgspec.json.encode(request)], [theirs.fileno()])
        except OSError:
            ours.close()
            return None
        finally:
            theirs.close()
        ours.setblocking(False)
        return ours

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
            self._live.close()

    async def _keep_running(self) -> None:
        waiting = pauses(0.5, 10.0)
        while True:
            if self._switch.disabled is not None:
                await self._switch.turned_from(off=True)
                continue
            process = await self._start()
            if process is not None:
                try:
                    await self._attend_while_enabled(process)
                finally:
                    await self._end(process)
                self._ended(process.returncode)
            if self.state().state in {RecorderState.RUNNING, RecorderState.DISABLED}:
                waiting = pauses(0.5, 10.0)
            else:
                await asyncio.sleep(next(waiting))

    def _ended(self, status: int | None) -> None:
        """What its end means: it was switched off, it cannot run here, or it crashed."""
        self._on_end()
        if self._switch.disabled is not None:
            log.warning("the recorder is switched off", reason=self._switch.disabled)
            self.evidence.recorder_gone(CameraState.DISABLED, self._switch.disabled)
            self._changed()
            return
        before, self._refusal = self._refusal, refusal_of(status, self._last_words)
        if self._refusal is None:
            reason = HANGS if self._hangs else f"the recorder ended with status {status}"
            log.error("the recorder crashed", reason=reason)
            self._crashed(reason)
        elif self._refusal != before:
            log.error("no recorder", state=self._refusal.state, reason=self._refusal.reason)
            self.evidence.recorder_gone(CameraState.FAILED, self._refusal.reason)
            self._changed()

    async def _attend_while_enabled(self, process: asyncio.subprocess.Process) -> None:
        attending = asyncio.create_task(self._attend(process), name="recorder reports")
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

    async def _start(self) -> asyncio.subprocess.Process | None:
        # None of our secrets is any of its business.
        environment = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
        command = (sys.executable, "-m", "understudy_recording_server.recorder_start", self._protocol)
        self._live.close()
        self._live, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._live.setblocking(False)
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                "--data-dir",
                str(self._data_dir),
                "--live-socket",
                str(theirs.fileno()),
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=MAXIMUM_LINE_BYTES,
                env=environment,
                # A Ctrl-C at the terminal is for the agent, which ends the recorder in order.
                start_new_session=True,
            )
        except OSError as error:
            self._refusal = Refusal(
                RecorderState.NOT_INSTALLED, f"the recorder cannot be started: {error.strerror}"
            )
            self._changed()
            return None
        finally:
            theirs.close()
        self._process, self._ready, self._last_words = process, False, ""
        self._hangs = False
        for folder, wanted in self._sets.items():
            self._send(self._apply(folder, wanted))
        self._repeat_events()
        return process

    async def _attend(self, process: asyncio.subprocess.Process) -> None:
        """Hear the recorder until it ends, or hangs."""
        assert process.stdout is not None  # noqa: S101 - asked for above
        silent, patience = 0, START_S
        # Twice, since a first time may only mean that we ourselves were suspended.
        while silent < 2:
            try:
                async with asyncio.timeout(patience):
                    line = await process.stdout.readline()
            except TimeoutError:
                silent += 1
                self._hangs = self._ready
                self._changed()
                continue
            except ValueError:
                log.error("the recorder said something endless")
                break
            if not line:
                return
            if self._hangs:
                self._hangs = False
                self._changed()
            silent, patience = 0, SILENCE_S if self._ready else START_S
            await self._hear(line)
        log.error("the recorder is killed", silent_s=2 * patience)
        process.kill()

    async def _hear(self, line: bytes) -> None:
        try:
            report = decode_report(line)
        except InvalidMessage as error:
            log.warning("the recorder said something unknown", error=error.message)
            return
        match report:
            case Ready():
                self._ready = True
                self._refusal = None
                log.info("recorder ready", pid=report.pid)
            case Trouble():
                self._last_words = report.reason
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

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """Have it finish its files; also called when it has ended by itself."""
        self._process = None
        if process.returncode is None and process.stdin is not None:
            process.stdin.write(encode(Shutdown()))
            process.stdin.close()
            try:
                # Its last words must be read, or it would wait for a reader.
                async with asyncio.timeout(ENDING_S):
                    await process.communicate()
            except TimeoutError:
                log.error("the recorder does not end")
            except (BrokenPipeError, ConnectionResetError):
                log.debug("the recorder ended before it was told to")
        if process.returncode is None:
            process.kill()
        await process.wait()
        if process.stdin is not None:
            process.stdin.close()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                await process.stdin.wait_closed()

    def _crashed(self, reason: str) -> None:
        now = self._clock.monotonic()
        self._crashes = [*recent(self._crashes, now), now]
        self._restarts += 1
        self._reason, self._hangs = reason, False
        self.evidence.recorder_gone()
        self._changed()

    def _apply(self, folder: str, wanted: CameraSet) -> Apply:
        return Apply(folder, wanted.cameras, self._generation, wanted.segment_s)

    def _send(self, command: Command) -> None:
        process = self._process
        if process is None or process.stdin is None or process.stdin.is_closing():
            return  # The next one is told everything at its start.
        process.stdin.write(encode(command))
