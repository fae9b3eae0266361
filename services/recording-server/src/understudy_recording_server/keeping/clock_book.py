"""What was last known of the wall clock, kept on disk: a jump while this machine was off is a jump too."""

from __future__ import annotations

from pathlib import Path

import msgspec
import structlog

from understudy_recording_server.keeping.retention import ClockNote
from understudy_recording_server.private_files import PRIVATE_FOLDER, CannotRead, read_private, write_private

FILE = "clock.json"
EVERY_S = 600.0

log = structlog.get_logger()


class ClockBook:
    """The last note. No clock of its own."""

    def __init__(self, settings_folder: Path) -> None:
        self._path = settings_folder / FILE
        self._saved = ClockNote(0)
        self._saved_at: float | None = None

    def load(self) -> ClockNote | None:
        """What was noted last; None when nothing was, or it cannot be read. For a thread."""
        try:
            return read_private(self._path, ClockNote)
        except CannotRead as error:
            log.error("the note of the clock is lost", error=str(error))
            return None

    def is_due(self, note: ClockNote, monotonic_s: float) -> bool:
        """Whether to save it: now and then, and at once when the clock is no longer trusted."""
        late = self._saved_at is None or monotonic_s - self._saved_at >= EVERY_S
        return late or note.rests_s > self._saved.rests_s

    def save(self, note: ClockNote, monotonic_s: float) -> None:
        """For a thread. A disk that takes nothing now is asked again when this is called again."""
        try:
            self._path.parent.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
            write_private(self._path, msgspec.json.encode(note))
        except OSError as error:
            log.debug("the note of the clock cannot be saved", error=error.strerror)
        else:
            self._saved, self._saved_at = note, monotonic_s
