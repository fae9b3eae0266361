"""Which footage goes first when some has to: the oldest, but neither what was made just now nor what cannot
be removed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from understudy_footage import Held

from understudy_recording_server.keeping.retention import WallClockWatch

LATE_MS = 2 * WallClockWatch.JUMP_MS


class RemovalOrder:
    """Names tell the order, and what is known beside them. Times are monotonic seconds."""

    def __init__(self) -> None:
        # By folder and path; those made late with the time until which they are.
        self._late: dict[tuple[str, str], float] = {}
        self._refused: set[tuple[str, str]] = set()

    def made(self, folder: str, path: str, start_ms: int, newest_ms: int, now_s: float) -> None:
        """A file has been made, beside others of which the newest begins at `newest_ms`.

        What is made now is the newest there is, whatever a wrong clock named it or the files before it: else
        a disk that is full would lose it first.
        """
        if start_ms < newest_ms - LATE_MS:
            self._late[folder, path] = now_s + WallClockWatch.REST_S

    def refused(self, folder: str, paths: Iterable[str]) -> None:
        """These cannot be removed, though others can."""
        self._refused.update((folder, path) for path in paths)

    def try_again(self) -> None:
        """What could not be removed may have changed."""
        self._refused.clear()

    def of(self, folder: str, files: Sequence[Held], now_s: float) -> Iterator[Held]:
        """What may be removed of `files`, which are sorted by their start."""
        self._late = {key: until_s for key, until_s in self._late.items() if until_s > now_s}
        for late in (False, True) if self._late else (False,):
            for held in files:
                key = folder, held.path
                if key not in self._refused and (key in self._late) is late:
                    yield held
