"""Footage that was let go before it came home: named on disk before it is removed (promise P15)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
import structlog
from understudy_contracts.machine import FootageGap
from understudy_footage import Held

from understudy_recording_server.private_files import PRIVATE_FOLDER, CannotRead, read_twice, write_twice

FILE = "gaps.json"
MOST_KEPT = 2000
"""The newest ones; a gap is one camera of one failover, so that these are years."""

log = structlog.get_logger()


def widened(gaps: Iterable[FootageGap], failover: str, files: Iterable[Held], cause: str) -> list[FootageGap]:
    """The gaps when these files of a failover go as well: one gap for each camera and cause. Pure.

    What lies within a named gap is counted already: naming may be repeated after a crash.
    """
    by_key = {(gap.failover, gap.camera, gap.cause): gap for gap in gaps}
    for held in sorted(files):
        key = (failover, held.camera, cause)
        gap = by_key.get(key)
        if gap is None:
            by_key[key] = FootageGap(failover, held.camera, held.start_ms, held.end_ms, 1, held.size, cause)
        elif not (gap.start <= held.start_ms and held.end_ms <= gap.end):
            by_key[key] = msgspec.structs.replace(
                gap,
                start=min(gap.start, held.start_ms),
                end=max(gap.end, held.end_ms),
                files=gap.files + 1,
                bytes=gap.bytes + held.size,
            )
    return list(by_key.values())[-MOST_KEPT:]


class GapBook:
    """The gaps that this machine has made. They outlive the failover's folder: what is missing stays so."""

    def __init__(self, settings_folder: Path) -> None:
        self._path = settings_folder / FILE
        self.gaps: list[FootageGap] = []
        self.saved = True

    def load(self) -> None:
        """Read what there is; a damaged file is logged and passed by."""
        try:
            self.gaps = read_twice(self._path, list[FootageGap]) or []
        except CannotRead as error:
            log.error("the list of gaps is lost", error=str(error))
            self.gaps = []

    def name(self, failover: str, files: Iterable[Held], cause: str) -> None:
        """Name these files as gone, before they are removed. For a thread.

        A disk too full for this list gets room only by removing them: then the log names them until the list
        can be saved.
        """
        gaps = widened(self.gaps, failover, files, cause)
        if gaps == self.gaps:
            return
        self.gaps, self.saved = gaps, False
        log.warning("footage is let go before it came home", failover=failover, cause=cause)
        self.save()
        if not self.saved:
            named = [msgspec.to_builtins(gap) for gap in gaps if gap.failover == failover]
            log.error("the gap cannot be saved yet", gaps=named)

    def save(self) -> None:
        """Save what has not been saved. For a thread."""
        if self.saved:
            return
        try:
            self._path.parent.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
            write_twice(self._path, msgspec.json.encode(self.gaps))
        except OSError as error:
            log.debug("the list of gaps cannot be saved", error=error.strerror)
        else:
            self.saved = True
