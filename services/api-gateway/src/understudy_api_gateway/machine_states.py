"""What machines said last, for whoever asks: kept as it came, and read only then.

A thousand machines speak several times a second, and somebody looks at one of them now and then.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import msgspec
from nats.aio.msg import Msg
from understudy_bus.connection import Bus
from understudy_contracts.machine import CameraEvidence, Heartbeat, is_behind
from understudy_contracts.model import CameraState
from understudy_contracts.subjects import Subjects
from understudy_runtime.clock import Clock

# Older words say nothing about now.
FRESH_S: Final = 5.0
_NOT_SERVED: Final = {CameraState.DISABLED, CameraState.STOPPED}


class _Place(msgspec.Struct):
    """A word's place among those of its machine."""

    boot: str = ""
    sequence: int = 0


@dataclass(frozen=True)
class _Word:
    """A body as it came, and when by the monotonic clock."""

    machine: str
    heard_at: float
    body: bytes

    @cached_property
    def place(self) -> _Place | None:
        """None if it cannot be read."""
        try:
            return msgspec.json.decode(self.body, type=_Place)
        except msgspec.DecodeError:
            return None

    def is_behind(self, other: _Word | None) -> bool:
        """Whether it came late, or twice (promise P5)."""
        return other is not None and self.place is not None and is_behind(self.place, other.place)

    @cached_property
    def heartbeat(self) -> Heartbeat | None:
        """None if it cannot be read, or speaks of another machine."""
        try:
            heartbeat = msgspec.json.decode(self.body, type=Heartbeat)
        except msgspec.DecodeError:
            return None
        return heartbeat if heartbeat.machine == self.machine else None


@dataclass
class _Words:
    """The last heartbeat and the last report of one machine: they come on subjects of their own, and may
    overtake each other."""

    beat: _Word | None = None
    report: _Word | None = None

    def mention(self, camera: str) -> bool:
        """Whether it is worth reading them for the sake of `camera`."""
        needle = camera.encode()
        return any(word is not None and needle in word.body for word in (self.beat, self.report))

    def last(self) -> tuple[Heartbeat, float] | None:
        """The later of the two that can be read, and when it was heard."""
        said = [
            (word.heartbeat, word.heard_at)
            for word in (self.beat, self.report)
            if word is not None and word.heartbeat is not None
        ]
        boots = {heartbeat.boot for heartbeat, _ in said}
        by_sequence = len(boots) == 1
        return max(said, key=lambda one: one[0].sequence if by_sequence else one[1], default=None)


class MachineStates:
    """The last word of each machine."""

    def __init__(self, subjects: Subjects, clock: Clock) -> None:
        self._subjects = subjects
        self._clock = clock
        self._words: dict[str, _Words] = {}

    async def listen(self, bus: Bus) -> None:
        """Hear the machines from now on."""

        async def received(message: Msg) -> None:
            self.hear(message.subject, message.data)

        await bus.client.subscribe(self._subjects.all_heartbeats, cb=received)
        await bus.client.subscribe(self._subjects.all_reports("state"), cb=received)

    def hear(self, subject: str, body: bytes) -> None:
        """A heartbeat or a report of the state. The subject, which the bus guards, tells who speaks."""
        address = self._subjects.machine_of(subject)
        if address is None:
            return
        word = _Word(address.machine, self._clock.monotonic(), body)
        words = self._words.setdefault(address.machine, _Words())
        if subject == self._subjects.heartbeat(address):
            words.beat = words.beat if word.is_behind(words.beat) else word
        else:
            words.report = words.report if word.is_behind(words.report) else word

    def address(self, machine: str) -> str | None:
        """Where `machine` is reached, by its last word, however old."""
        last = self._last(machine)
        return (last[0].address or None) if last else None

    def cameras(self, machine: str | None) -> dict[str, CameraEvidence] | None:
        """What `machine` does with each camera, by camera id; None if it was not heard lately."""
        last = self._last(machine or "")
        if last is None or not self._is_fresh(last[1]):
            return None
        return {evidence.camera: evidence for evidence in last[0].cameras}

    def serving(self, camera: str) -> Heartbeat | None:
        """The last word of the machine that runs `camera` now and can be reached. While two do (when one
        takes over from the other), of the one in a failover: it is what people operate."""
        found = []
        for machine, words in self._words.items():
            if not words.mention(camera):  # like most of them
                continue
            last = self._last(machine)
            if last is None or not last[0].address or not self._is_fresh(last[1]):
                continue
            heartbeat, heard_at = last
            found += [
                (evidence.failover is not None, heard_at, heartbeat)
                for evidence in heartbeat.cameras
                if evidence.camera == camera and evidence.state not in _NOT_SERVED
            ]
        return max(found, key=lambda one: one[:2])[2] if found else None

    def _last(self, machine: str) -> tuple[Heartbeat, float] | None:
        words = self._words.get(machine)
        return words.last() if words else None

    def _is_fresh(self, heard_at: float) -> bool:
        return self._clock.monotonic() - heard_at < FRESH_S
