"""Where the agent asks for live video: each request brings the socket on which it is wanted."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event, Thread

import msgspec
from understudy_contracts.errors import UnderstudyError

from understudy_recording_server.live_protocol import HEADER, REFUSED, WatchRequest
from understudy_recording_server.recorder.fleet import Fleet
from understudy_recording_server.recorder.live import LiveSink

LARGEST_BACKLOG = 32 << 20
"""More than the largest group of pictures that is kept. An agent that is further behind hangs."""
LARGEST_REQUEST = 4096
SEND_PATIENCE_S = 10.0
_LOOK_S = 0.5


class Door:
    """A thread that takes requests until the agent's end of the socket is closed."""

    def __init__(self, descriptor: int, fleet: Fleet) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._fleet = fleet

    def open(self) -> None:
        Thread(target=self._listen, name="live", daemon=True).start()

    def _listen(self) -> None:
        with self._socket:
            while True:
                try:
                    data, descriptors, _, _ = socket.recv_fds(self._socket, LARGEST_REQUEST, 1)
                except OSError:
                    return
                if not data:
                    return
                for descriptor in descriptors[1:]:
                    os.close(descriptor)
                if descriptors:
                    self._watch(data, Outlet(socket.socket(fileno=descriptors[0])))

    def _watch(self, data: bytes, outlet: Outlet) -> None:
        outlet.start()
        try:
            request = msgspec.json.decode(data, type=WatchRequest)
            folder, camera, stream = request.folder, request.camera, request.stream
            recent = self._fleet.recent(folder, camera) if stream == "main" else None
            sink = LiveSink(outlet.send, recent, outlet.close)
            outlet.on_gone = partial(self._fleet.detach, folder, camera, sink, stream)
            self._fleet.attach(folder, camera, sink, stream)
            if outlet.is_closing:
                outlet.on_gone()  # It was gone before it could be told so.
        except UnderstudyError as error:
            outlet.refuse(error.message)
        except msgspec.MsgspecError:
            outlet.refuse("not a request to watch a camera")


class Outlet:
    """A socket and a thread that writes to it, so that who reads the camera never waits for a viewer."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._connection.settimeout(SEND_PATIENCE_S)
        self._queue: SimpleQueue[bytes] = SimpleQueue()
        self._backlog = 0
        self._taken = 0
        self._closing = Event()
        self.on_gone: Callable[[], None] = _nothing

    @property
    def is_closing(self) -> bool:
        return self._closing.is_set()

    def start(self) -> None:
        Thread(target=self._run, name="watch", daemon=True).start()

    def send(self, kind: bytes, is_key: bool, at_ms: int, body: bytes) -> None:
        """From one thread at a time. What comes after too much is thrown away: the connection ends."""
        if self._backlog - self._taken > LARGEST_BACKLOG or self._closing.is_set():
            self._closing.set()
            return
        self._backlog += HEADER.size + len(body)
        self._queue.put(HEADER.pack(kind, is_key, len(body), at_ms) + body)

    def close(self) -> None:
        """Hang up soon. What has not been sent is thrown away. From any thread."""
        self._closing.set()

    def refuse(self, reason: str) -> None:
        self.send(REFUSED, False, 0, reason.encode())

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                try:
                    data = self._queue.get(timeout=_LOOK_S)
                except Empty:
                    if self._hung_up():
                        break
                    continue
                self._connection.sendall(data)
                self._taken += len(data)
        except OSError:
            pass  # Nobody watches any more, which is how it usually ends.
        finally:
            self._closing.set()
            self._connection.close()
            self.on_gone()

    def _hung_up(self) -> bool:
        # MSG_DONTWAIT would not do: Python itself waits, as long as the socket's timeout is.
        self._connection.setblocking(False)
        try:
            return self._connection.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        finally:
            self._connection.settimeout(SEND_PATIENCE_S)


def _nothing() -> None:
    """For an outlet that nothing is attached to yet."""
