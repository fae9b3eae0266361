"""Names of footage files: they alone tell camera, start, duration, and the failover that they came home from.

Times are UTC milliseconds, written as 13 digits so that the order of the names is the order of time
(interfaces.md, On a server's disk):

    recordings/<camera>/<YYYY-MM-DD>/<start>_<duration>.mp4          finished
    recordings/<camera>/<YYYY-MM-DD>/<start>_<duration>_f-12.mp4     finished, brought home from failover f-12
    recordings/<camera>/<YYYY-MM-DD>/<start>.mp4.part                being written
    snapshots/<camera>/<YYYY-MM-DD>/<time>.jpg                       also with _f-12
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from pathlib import PurePosixPath

from understudy_contracts.errors import InvalidId, InvalidInput
from understudy_contracts.ids import FAILOVER_ID_PATTERN, check_id

RECORDINGS = "recordings"
SNAPSHOTS = "snapshots"
PART_SUFFIX = ".part"

MAXIMUM_TIME_MS = 9_999_999_999_999
"""The year 2286: the last time that thirteen digits can name."""
MAXIMUM_DURATION_MS = 9_999_999_999

_DAY_MS = 86_400_000
_FIRST_DAY = date(1970, 1, 1)

_RECORDING = re.compile(r"([0-9]{13})_(0|[1-9][0-9]{0,9})(?:_(f-[1-9][0-9]{0,14}))?\.mp4", re.ASCII)
_PART = re.compile(r"([0-9]{13})\.mp4\.part", re.ASCII)
_SNAPSHOT = re.compile(r"([0-9]{13})(?:_(f-[1-9][0-9]{0,14}))?\.jpg", re.ASCII)
_FAILOVER = re.compile(FAILOVER_ID_PATTERN)


class InvalidFootageName(InvalidInput):
    """Not the name of a footage file of ours: the message says what was expected."""

    code = "invalid-footage-name"


def day_of(time_ms: int) -> str:
    """The UTC day, `YYYY-MM-DD`, of a time in UTC milliseconds.

    Raises:
        InvalidFootageName: before 1970 or after the year 2286.
    """
    _check_time(time_ms)
    return _day(time_ms // _DAY_MS)


@lru_cache(maxsize=4096)
def _day(number: int) -> str:
    return (_FIRST_DAY + timedelta(days=number)).isoformat()


def _check_time(time_ms: int) -> None:
    if not 0 <= time_ms <= MAXIMUM_TIME_MS:
        raise InvalidFootageName(f"{time_ms} is no time that a file name can hold: 0 to {MAXIMUM_TIME_MS} ms")


def _check_failover(failover: str | None) -> None:
    if failover is not None and _FAILOVER.match(failover) is None:
        raise InvalidFootageName(f"{failover[:80]!r} is not a failover id: expected f-<number>")


def _suffix(failover: str | None) -> str:
    return "" if failover is None else f"_{failover}"


@dataclass(frozen=True)
class RecordingName:
    """A finished recording: start and duration in milliseconds, and the failover that it came home from.

    Raises:
        InvalidFootageName: a value that a name cannot hold.
    """

    start_ms: int
    duration_ms: int
    failover: str | None = None

    def __post_init__(self) -> None:
        _check_time(self.start_ms)
        if not 0 <= self.duration_ms <= MAXIMUM_DURATION_MS:
            raise InvalidFootageName(f"{self.duration_ms} ms is no duration that a file name can hold")
        _check_failover(self.failover)

    @property
    def end_ms(self) -> int:
        return self.start_ms + self.duration_ms

    @property
    def file_name(self) -> str:
        return f"{self.start_ms:013d}_{self.duration_ms}{_suffix(self.failover)}.mp4"

    def path(self, camera: str) -> PurePosixPath:
        """The path within a footage root."""
        return _place(RECORDINGS, camera, self.start_ms) / self.file_name

    @classmethod
    def parse(cls, file_name: str) -> RecordingName:
        """The name that this file name spells.

        Raises:
            InvalidFootageName: anything else, an unfinished file included.
        """
        found = _RECORDING.fullmatch(file_name)
        if found is None:
            raise InvalidFootageName(
                f"{file_name[:80]!r} is not the name of a recording: expected <start>_<duration>.mp4"
            )
        return cls(int(found[1]), int(found[2]), found[3])


@dataclass(frozen=True)
class SnapshotName:
    """A snapshot: its time in UTC milliseconds, and the failover that it came home from."""

    time_ms: int
    failover: str | None = None

    def __post_init__(self) -> None:
        _check_time(self.time_ms)
        _check_failover(self.failover)

    @property
    def start_ms(self) -> int:
        return self.time_ms

    @property
    def end_ms(self) -> int:
        return self.time_ms

    @property
    def file_name(self) -> str:
        return f"{self.time_ms:013d}{_suffix(self.failover)}.jpg"

    def path(self, camera: str) -> PurePosixPath:
        """The path within a footage root."""
        return _place(SNAPSHOTS, camera, self.time_ms) / self.file_name

    @classmethod
    def parse(cls, file_name: str) -> SnapshotName:
        """The name that this file name spells.

        Raises:
            InvalidFootageName: anything else.
        """
        found = _SNAPSHOT.fullmatch(file_name)
        if found is None:
            raise InvalidFootageName(f"{file_name[:80]!r} is not the name of a snapshot: expected <time>.jpg")
        return cls(int(found[1]), found[2])


@dataclass(frozen=True)
class PartName:
    """A recording that is being written, or was when the power went: only its start is known."""

    start_ms: int

    def __post_init__(self) -> None:
        _check_time(self.start_ms)

    @property
    def file_name(self) -> str:
        return f"{self.start_ms:013d}.mp4{PART_SUFFIX}"

    def path(self, camera: str) -> PurePosixPath:
        """The path within a footage root."""
        return _place(RECORDINGS, camera, self.start_ms) / self.file_name

    @classmethod
    def parse(cls, file_name: str) -> PartName:
        """The name that this file name spells.

        Raises:
            InvalidFootageName: anything else, a finished file included.
        """
        found = _PART.fullmatch(file_name)
        if found is None:
            raise InvalidFootageName(
                f"{file_name[:80]!r} is not the name of an unfinished recording: expected <start>.mp4.part"
            )
        return cls(int(found[1]))


@dataclass(frozen=True)
class FootagePath:
    """A finished file within a footage root: whose camera's, and its name."""

    camera: str
    name: RecordingName | SnapshotName

    @property
    def path(self) -> PurePosixPath:
        return self.name.path(self.camera)

    @property
    def text(self) -> str:
        return str(self.path)

    def brought_home(self, failover: str) -> FootagePath:
        """The same footage as it is called at home after `failover`; a name that tells one keeps it."""
        if self.name.failover is not None:
            return self
        if isinstance(self.name, RecordingName):
            return FootagePath(
                self.camera, RecordingName(self.name.start_ms, self.name.duration_ms, failover)
            )
        return FootagePath(self.camera, SnapshotName(self.name.time_ms, failover))

    @classmethod
    def parse(cls, text: str) -> FootagePath:
        """The path that this relative path spells; there is exactly one spelling of each.

        Raises:
            InvalidFootageName: another place, another day than the name's, `..`, an absolute path, or an
                unfinished file.
        """
        parts = text.split("/")
        if len(parts) != 4:
            raise InvalidFootageName(
                f"{text[:120]!r} is not the path of footage: expected {RECORDINGS}/<camera>/<day>/<file>"
            )
        place, camera, day, file_name = parts
        _check_camera(camera)
        name: RecordingName | SnapshotName
        if place == RECORDINGS:
            name = RecordingName.parse(file_name)
            time_ms = name.start_ms
        elif place == SNAPSHOTS:
            name = SnapshotName.parse(file_name)
            time_ms = name.time_ms
        else:
            raise InvalidFootageName(f"{place[:80]!r} holds no footage: expected {RECORDINGS} or {SNAPSHOTS}")
        if day != day_of(time_ms):
            raise InvalidFootageName(f"{text[:120]!r} lies in another day's folder than its name tells")
        return cls(camera, name)


def _check_camera(camera: str) -> None:
    try:
        check_id(camera, "camera id")
    except InvalidId as error:
        raise InvalidFootageName(error.message) from error


def _place(folder: str, camera: str, time_ms: int) -> PurePosixPath:
    _check_camera(camera)
    return PurePosixPath(folder, camera, day_of(time_ms))
