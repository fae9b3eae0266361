"""What becomes of one camera's frames: put together, recorded, handed to whoever else wants them."""

from __future__ import annotations

from understudy_contracts.model import CameraState
from understudy_footage import FootageRoot
from understudy_runtime.clock import Clock

from understudy_recording_server.recorder.assembly import Assembly
from understudy_recording_server.recorder.by_event import ByEvent
from understudy_recording_server.recorder.fan_out import FanOut
from understudy_recording_server.recorder.frames import Arrived, Frame, Streams
from understudy_recording_server.recorder.recent import Recent
from understudy_recording_server.recorder.recording import Recording
from understudy_recording_server.recorder.run_record import RunRecord
from understudy_recording_server.recorder.sources.source import Source
from understudy_recording_server.recorder.writer import Writer


class Intake:
    """Not thread-safe: its camera's lock guards it. `record` is told what has come and what was written."""

    def __init__(
        self,
        record: RunRecord,
        writer: Writer | None,
        fan_out: FanOut,
        *,
        data: FootageRoot,
        clock: Clock,
        by_event_from: Recent | None,
    ) -> None:
        """Without `writer` nothing is recorded; with `by_event_from` only on an event, out of which recording
        begins."""
        self._record = record
        self._writer = writer
        self._fan_out = fan_out
        self._data = data
        self._clock = clock
        self._assembly: Assembly | None = None
        self._recording: Recording | ByEvent | None = None
        self._by_event: ByEvent | None = None
        if writer is not None:
            recording = Recording(writer, self._written, self._disk_refused)
            if by_event_from is not None:
                self._by_event = ByEvent(recording, by_event_from, self._watch)
            self._recording = self._by_event or recording

    def take(self, source: Source, arrived: Arrived) -> float | None:
        """Take what arrived; when the last picture of it did (monotonic seconds), if one is whole now."""
        if self._assembly is None:
            self._assembly = Assembly(source.streams)
            self._record.connected(arrived)
            self._begin(source.streams)
        self._record.bytes_received += arrived.packet.size
        return self._hand(self._assembly.take(arrived))

    @property
    def is_connected(self) -> bool:
        """Whether something came on the present connection."""
        return self._assembly is not None

    def happened(self, until_s: float) -> None:
        """An event: record until then (monotonic). Nothing where it records anyway, or never."""
        if self._by_event is not None:
            self._by_event.happened(until_s)

    def end(self, *, in_pieces: bool = False) -> None:
        """The connection is over; the file is closed. `in_pieces`: the frame that came last may be a part of
        one, which no player could decode."""
        assembly, self._assembly = self._assembly, None
        dropped = False
        if assembly is not None:
            dropped = in_pieces and assembly.drop_held()
            self._hand(assembly.rest())
        if self._recording is not None:
            self._recording.ended(without_last=in_pieces and not dropped)
        self._fan_out.end()

    def _begin(self, streams: Streams) -> None:
        if self._recording is not None:
            self._recording.began(streams)
        self._fan_out.begin(streams)

    def _hand(self, frames: list[Frame | Streams]) -> float | None:
        recording = self._recording
        seen_s: float | None = None
        for frame in frames:
            if isinstance(frame, Streams):
                self._begin(frame)
                continue
            if frame.is_video:
                self._record.received(frame)
                seen_s = frame.arrival_s
            if recording is not None:
                recording.take(frame)
            elif frame.is_video:
                self._watch(frame)
            self._fan_out.hand(frame)
        return seen_s

    def _watch(self, frame: Frame) -> None:
        state = self._record.state
        if state is not CameraState.LIVE:
            # After an event it is live at once, else only from a key frame on.
            if not frame.is_key and state is not CameraState.RECORDING:
                return
            self._record.change(CameraState.LIVE, "")
            self._record.first_key_frame(frame, frame.arrival_ms, None)
        self._record.watched(frame)

    def _disk_refused(self, reason: str) -> None:
        self._record.change(CameraState.FAILED, reason)

    def _written(self, frame: Frame, writer: Writer) -> None:
        self._record.written(frame)
        if self._record.state is CameraState.RECORDING:
            return
        segment = writer.segment
        if segment is not None and segment.has_first_frame:
            self._record.change(CameraState.RECORDING, "")
            file = segment.path.relative_to(self._data.path).as_posix()
            self._record.first_key_frame(frame, self._clock.wall_ms(), file)
