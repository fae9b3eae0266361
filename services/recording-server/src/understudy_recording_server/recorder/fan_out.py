"""One connection to a camera, many takers: each frame goes to all sinks that are attached at that moment."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Protocol

from understudy_recording_server.recorder.frames import Frame, Streams


class Sink(Protocol):
    """Takes a camera's frames, in the thread that reads the camera, and many others: it must not block.

    Calls come one at a time. A sink that raises is detached; the others go on.
    """

    def began(self, streams: Streams) -> None:
        """A connection begins, or the parameters of its video change: the next video frame is a key frame
        after a change, and any frame at the beginning. A sink that is attached midway hears this first."""

    def take(self, frame: Frame) -> None:
        """The next frame, in the order of arrival."""

    def ended(self) -> None:
        """The connection is over. Another may begin. Not called on `detach`."""


class FanOut:
    """The sinks of one camera. `attach` and `detach` come from any thread and never wait for a sink; all
    else belongs to whoever holds the camera's lock."""

    def __init__(self, on_failure: Callable[[Sink, Exception], None]) -> None:
        """`on_failure` is told about a sink that raised and has been detached."""
        self._on_failure = on_failure
        self._guard = Lock()
        self._sinks: tuple[Sink, ...] = ()
        self._told: tuple[Sink, ...] = ()
        self._streams: Streams | None = None

    def attach(self, sink: Sink) -> None:
        """Give it everything from the next frame on. Attaching twice is attaching once."""
        with self._guard:
            if sink not in self._sinks:
                self._sinks = (*self._sinks, sink)

    def detach(self, sink: Sink) -> None:
        """Give it nothing more, except for a frame that is being handed out just now."""
        with self._guard:
            self._sinks = tuple(one for one in self._sinks if one is not sink)

    @property
    def sinks(self) -> tuple[Sink, ...]:
        return self._sinks

    def begin(self, streams: Streams) -> None:
        self._streams = streams
        self._told = self._sinks
        for sink in self._told:
            self._guarded(sink, sink.began, streams)

    def hand(self, frame: Frame) -> None:
        """Hand a frame to every sink, after `begin`."""
        if self._told is not self._sinks:
            self._welcome()
        for sink in self._told:
            try:
                sink.take(frame)
            except Exception as error:  # noqa: BLE001 - a viewer's failure must not end the recording
                self._drop(sink, error)

    def end(self) -> None:
        if self._streams is not None:
            self._streams = None
            for sink in self._told:
                self._guarded(sink, sink.ended)
            self._told = ()

    def _welcome(self) -> None:
        known, self._told = self._told, self._sinks
        for sink in self._told:
            if sink not in known and self._streams is not None:
                self._guarded(sink, sink.began, self._streams)

    def _guarded(self, sink: Sink, call: Callable[..., None], *arguments: object) -> None:
        try:
            call(*arguments)
        except Exception as error:  # noqa: BLE001 - as above
            self._drop(sink, error)

    def _drop(self, sink: Sink, error: Exception) -> None:
        self.detach(sink)
        self._on_failure(sink, error)
