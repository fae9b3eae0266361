"""One camera: connects, writes what comes, and connects again."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Event, Lock, Thread

from understudy_contracts.model import CameraState
from understudy_footage import FootageRoot
from understudy_runtime.clock import Clock
from understudy_runtime.retry import pauses

from understudy_recording_server.recorder.fan_out import FanOut
from understudy_recording_server.recorder.finishing import Finisher
from understudy_recording_server.recorder.frames import Arrived
from understudy_recording_server.recorder.intake import Intake
from understudy_recording_server.recorder.protocol import CameraSpec, CameraStatus, Report
from understudy_recording_server.recorder.recent import Recent
from understudy_recording_server.recorder.recording import CANNOT_WRITE
from understudy_recording_server.recorder.run_record import RunRecord
from understudy_recording_server.recorder.sources.ffmpeg import LONG_PROBE_BYTES, SHORT_PROBE_BYTES
from understudy_recording_server.recorder.sources.problems import (
    SOCKET_TIMEOUT_S,
    STALLED,
    ParametersMissing,
    SourceProblem,
)
from understudy_recording_server.recorder.sources.read_loop import ReadLoop
from understudy_recording_server.recorder.sources.source import Source, open_source
from understudy_recording_server.recorder.writer import Writer
from understudy_recording_server.rtsp.access_units import Unsuited

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
STEADY_S = 5.0
"""A connection that lived this long was a good one: the next attempt comes quickly again."""
OPENING_LIMIT_S = 15.0
"""An address to look up, a connection to make, and half a dozen answers to wait for."""
MOST_ABANDONED = 3
"""Connections of one camera that were given up and have not ended yet: no further one beyond these."""
FFMPEG_ATTEMPTS = 5
"""A camera that our own reader made nothing of is opened through FFmpeg so often, without a frame in between,
before that is tried again. While FFmpeg brings frames it stays with it."""
DISK_SILENT = f"{CANNOT_WRITE}the disk does not answer"


class Camera:
    """Runs one camera of one folder from `start` to `stop`.

    Its own thread opens connections and waits for their end; who reads them (the loop of all cameras, or with
    FFmpeg the same thread) and the caller of `stop` share the open file under a lock that is held for one
    frame at a time, so that stopping never waits for a camera that has fallen silent.
    """

    def __init__(
        self,
        folder: str,
        spec: CameraSpec,
        generation: int,
        *,
        data: FootageRoot,
        finisher: Finisher,
        report: Callable[[Report], None],
        clock: Clock,
        segment_s: float,
        loop: ReadLoop,
        fan_out: FanOut,
        recent: Recent | None = None,
        after: Future[None] | None = None,
    ) -> None:
        """`loop` reads the connections of all cameras that it can.
        `after`: what has to be over first, namely the same camera's run with its previous address.
        `fan_out`: further sinks, beside the recording; it may outlive this run, and be given to the next.
        `recent`: one of those, out of which recording by event begins."""
        self.folder = folder
        self.spec = spec
        self._clock = clock
        self._record = RunRecord(folder, spec.id, generation, report, clock)
        self._loop = loop
        self._after = after
        self._lock = Lock()
        self._stopping = Event()
        self._writer: Writer | None = None
        if spec.record:
            self._writer = Writer(
                data.folder(folder),
                spec.id,
                segment_s,
                lambda part, duration_ms: finisher.finish(folder, spec.id, part, duration_ms),
            )
        self._intake = Intake(
            self._record,
            self._writer,
            fan_out,
            data=data,
            clock=clock,
            by_event_from=recent if spec.by_event else None,
        )
        self._probe_bytes = SHORT_PROBE_BYTES
        self._ffmpeg_attempts = 0
        self._was_steady = False
        self._tells_silence = False
        self._turn = 0
        self._threads: list[Thread] = []
        self._quiet_after: float | None = None
        self._disk_is_silent = False
        self._giving_up = False

    def start(self) -> None:
        self._record.announce()
        self._start_thread()

    def check(self) -> None:
        """Give up a connection that is busy but brings no frame, and make another; to be called every second.

        A silent one ends by itself. But a camera may go on with reports and without frames, and FFmpeg does
        not tell; nor can a thread that waits in it be interrupted cheaply: it is left behind, and ends when
        its connection does.
        """
        quiet_after = self._quiet_after
        overdue = quiet_after is not None and self._clock.monotonic() >= quiet_after
        if not overdue or self._stopping.is_set():
            self._disk_is_silent = False
            return
        if not self._lock.acquire(blocking=False):
            # It waits for the disk: that is no fault of the camera's, and nothing to wait for here.
            self._disk_is_silent = True
            return
        self._lock.release()
        self._disk_is_silent = False
        if not self._giving_up and not self._tells_silence:
            self._giving_up = True
            # Beside the caller, who watches all cameras: closing the file may have to wait for the disk.
            Thread(target=self._give_up, args=[quiet_after], name="camera-given-up", daemon=True).start()

    def _give_up(self, quiet_after: float) -> None:
        try:
            with self._lock:
                if self._quiet_after != quiet_after or self._stopping.is_set():
                    return
                self._turn += 1
                self._lost(CameraState.RECONNECTING, STALLED)
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            if len(self._threads) <= MOST_ABANDONED:
                self._start_thread()
        finally:
            self._giving_up = False

    def _start_thread(self) -> None:
        # A daemon: an open() that a camera never answers must not hold up the end of the process.
        thread = Thread(target=self._run, args=[self._turn], name=f"camera-{self.spec.id}", daemon=True)
        self._quiet_after = None
        self._tells_silence = False
        self._threads.append(thread)
        thread.start()

    def happened(self, for_s: float) -> None:
        """An event: record for so long from now on. Nothing to a camera that records anyway, or never."""
        self._intake.happened(self._clock.monotonic() + for_s)

    def keep(self, generation: int, segment_s: float) -> None:
        """Go on untouched as part of a new set."""
        if self._writer is not None:
            self._writer.segment_s = segment_s
        self._record.keep(generation)

    def stop(self) -> None:
        """Close the file after the frame being written, wait until it has its final name, and say so."""
        self._stopping.set()
        with self._lock:
            pending: set[Future[None]] = set()
            self._intake.end()
            if self._writer is not None:
                pending = self._writer.pending
        wait(pending)
        with self._lock:
            self._record.change(CameraState.STOPPED, "")
        self._record.stopped()

    def status(self) -> CameraStatus:
        """The present state; rates are for the caller. Takes no lock, for it must not wait for a disk."""
        # Its own thread cannot tell of a disk that does not answer: it is the one that waits.
        return self._record.status(
            self._writer.bytes_written if self._writer else 0, DISK_SILENT if self._disk_is_silent else ""
        )

    @property
    def bytes_received(self) -> int:
        """Bytes of video that came from the camera, written or not."""
        return self._record.bytes_received

    def _is_over(self, turn: int) -> bool:
        return turn != self._turn or self._stopping.is_set()

    def _run(self, turn: int) -> None:
        if self._after is not None:
            wait([self._after])
        attempts = pauses(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        while not self._is_over(turn):
            began = self._clock.monotonic()
            self._quiet_after = began + OPENING_LIMIT_S
            try:
                self._connect(turn)
            except SourceProblem as problem:
                self._ended(turn, problem.state, problem.reason)
            except Unsuited as unsuited:
                if not self._is_over(turn):
                    self._ffmpeg_attempts = FFMPEG_ATTEMPTS
                self._ended(turn, CameraState.RECONNECTING, f"opening it in another way: {unsuited}")
                attempts = pauses(FIRST_PAUSE_S, LONGEST_PAUSE_S)
            except Exception as error:  # noqa: BLE001
                # One camera's surprise must not end its recording for good. The text of the error stays out:
                # it may hold the camera's address with the password.
                reason = f"unexpected {type(error).__name__} in the recorder"
                self._record.trouble(reason)
                self._ended(turn, CameraState.RECONNECTING, reason)
            if self._was_steady:
                attempts = pauses(FIRST_PAUSE_S, LONGEST_PAUSE_S)
            self._stopping.wait(next(attempts))

    def _connect(self, turn: int) -> None:
        self._was_steady = False
        through_ffmpeg = self._ffmpeg_attempts > 0
        if through_ffmpeg:
            self._ffmpeg_attempts -= 1
        self._set_tells_silence(turn, tells=False)
        try:
            source = open_source(
                self.spec,
                self._clock,
                self._loop,
                through_ffmpeg=through_ffmpeg,
                probe_bytes=self._probe_bytes,
            )
        except ParametersMissing:
            self._probe_bytes = LONG_PROBE_BYTES
            raise
        self._set_tells_silence(turn, tells=source.tells_silence)
        began_s = self._clock.monotonic()
        try:
            source.deliver(lambda arrived: self._take(source, turn, arrived))
        finally:
            self._was_steady = self._clock.monotonic() - began_s > STEADY_S
            try:
                # Before the streams that the sinks were given are closed.
                with self._lock:
                    if not self._is_over(turn):
                        self._intake.end(in_pieces=source.may_end_in_pieces)
            finally:
                source.close()

    def _set_tells_silence(self, turn: int, *, tells: bool) -> None:
        with self._lock:
            if not self._is_over(turn):
                self._tells_silence = tells

    def _take(self, source: Source, turn: int, arrived: Arrived) -> bool:
        """Whether more is wanted."""
        with self._lock:
            if turn != self._turn or self._stopping.is_set():
                return False
            if source.through_ffmpeg and not self._intake.is_connected:
                self._ffmpeg_attempts = FFMPEG_ATTEMPTS
            seen_s = self._intake.take(source, arrived)
            if seen_s is not None:
                self._quiet_after = seen_s + SOCKET_TIMEOUT_S
        return True

    def _ended(self, turn: int, state: CameraState, reason: str) -> None:
        with self._lock:
            if not self._is_over(turn):
                self._quiet_after = None
                self._lost(state, reason)

    def _lost(self, state: CameraState, reason: str) -> None:
        self._intake.end()
        self._record.lost(state, reason)
