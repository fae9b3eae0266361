"""Gives written files their final names, beside the threads that read cameras: fsync can take long."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event, Thread

from understudy_footage import FootageRoot, LostWrites, Part, PartName, RecordingName, finish_file, recover
from understudy_runtime.retry import pauses

from understudy_recording_server.recorder.protocol import Report, SegmentFinished, Trouble
from understudy_recording_server.recorder.segments import WrittenPart

_ATTEMPTS = 4
LATER_S = 5.0
"""A disk that was full or read-only comes back: what could not be finished is tried again this often."""
PATIENT_ROUNDS = 12
"""For a minute a file that cannot be read is left as it is: a cable may be loose. But while it is unfinished,
nothing of its failover comes home."""


@dataclass
class _Work:
    """One file. `anew`: the disk has not got what it was given. `rounds`: how often it was tried again."""

    folder: str
    camera: str
    part: WrittenPart
    duration_ms: int
    anew: bool = False
    rounds: int = 0


class Finisher:
    """A few threads that fsync and rename for all cameras."""

    def __init__(self, data: FootageRoot, report: Callable[[Report], None], threads: int = 4) -> None:
        self._data = data
        self._report = report
        self._pool = ThreadPoolExecutor(threads, "finisher")
        self._ending = Event()
        self._left: SimpleQueue[_Work] = SimpleQueue()
        self._later = Thread(target=self._try_later, name="finisher-later", daemon=True)
        self._later.start()

    def finish(self, folder: str, camera: str, part: WrittenPart, duration_ms: int) -> Future[None]:
        """Finish a file in the background, and report it, or what went wrong. The future never fails."""
        return self._pool.submit(self._run, _Work(folder, camera, part, duration_ms))

    def close(self) -> None:
        """Wait for all files; those that failed are tried once more, without a pause."""
        self._ending.set()
        self._pool.shutdown(wait=True)
        self._later.join()
        self._try_left()

    def _run(self, work: _Work) -> None:
        waits = pauses(0.2, 2.0)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                finished = self._finish(work)
            except OSError as error:
                if attempt < _ATTEMPTS and not self._ending.wait(next(waits)):
                    continue
                reason = f"cannot finish {work.part.path.name}: {error.strerror or error}"
                self._report(Trouble(reason, work.folder, work.camera))
                self._left.put(work)
                return
            if finished is not None:
                self._report(finished)
            return

    def _try_later(self) -> None:
        """Beside the pool, so that nobody who stops a camera waits for a disk that is ill."""
        while not self._ending.wait(LATER_S):
            self._try_left()

    def _try_left(self) -> None:
        for _ in range(self._left.qsize()):
            work = self._left.get()
            if not self._finished_later(work):
                self._left.put(work)

    def _finished_later(self, work: _Work) -> bool:
        """Whether there is nothing left to do. What is not finished when the recorder ends is recovered at
        its next start."""
        work.rounds += 1
        try:
            finished = self._finish(work)
        except FileNotFoundError:
            return True  # Somebody removed it.
        except OSError:
            return False
        if finished is not None:
            self._report(finished)
        return True

    def _finish(self, work: _Work) -> SegmentFinished | None:
        try:
            return self._named(work)
        except LostWrites:
            work.anew = True
            raise

    def _named(self, work: _Work) -> SegmentFinished | None:
        part, camera, duration_ms = work.part, work.camera, work.duration_ms
        root = self._data.folder(work.folder)
        if part.torn:
            recovered = recover(
                root,
                Part(camera, PartName(part.start_ms), part.path),
                anew=work.anew,
                despite_errors=work.rounds >= PATIENT_ROUNDS,
            )
            if recovered.path is None:
                return None
            final, size = recovered.path, recovered.kept_bytes
            start_ms, duration_ms = recovered.start_ms, recovered.duration_ms
        else:
            name = root.free_name(camera, RecordingName(part.start_ms, duration_ms))
            final, size, start_ms = root.recording(camera, name), part.size, name.start_ms
            finish_file(part.path, final, anew=work.anew)
        shown = final.relative_to(self._data.path).as_posix()
        return SegmentFinished(work.folder, camera, shown, start_ms, duration_ms, size)
