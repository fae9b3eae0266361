"""Many connections in one thread, and what holds one up holds up no other."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from understudy_recording_server.recorder.sources import read_loop
from understudy_recording_server.recorder.sources.read_loop import ReadLoop

PATIENCE_S = 10.0


class Ended(Exception):
    pass


class Listener:
    """A connection that keeps what comes, and can be held up by `pause`."""

    def __init__(self, pause: Callable[[bytes], None] = lambda _: None) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.heard = b""
        self.cared_for = 0
        self.ends_when_cared_for = False
        self.overlaps = 0
        self._pause = pause
        self._inside = threading.Lock()
        self._news = threading.Condition()

    def fileno(self) -> int:
        return self.ours.fileno()

    def receive(self, buffer: memoryview) -> None:
        if not self._inside.acquire(blocking=False):
            self.overlaps += 1
            return
        try:
            count = self.ours.recv_into(buffer)
            if not count:
                self.ours.close()
                raise Ended
            data = bytes(buffer[:count])
            self._pause(data)
            with self._news:
                self.heard += data
                self._news.notify_all()
        finally:
            self._inside.release()

    def care(self) -> None:
        with self._news:
            self.cared_for += 1
            self._news.notify_all()
        if self.ends_when_cared_for:
            _end(self)
            self.ours.close()
            raise Ended("in care")

    def until(self, wanted: Callable[[], bool]) -> None:
        with self._news:
            assert self._news.wait_for(wanted, PATIENCE_S), self.heard

    def hears(self, data: bytes) -> None:
        self.until(lambda: self.heard == data)


@pytest.fixture
def readers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(40) as pool:
        yield pool


@pytest.fixture
def loop(readers: ThreadPoolExecutor) -> Iterator[ReadLoop]:
    troubles: list[Exception] = []
    running = ReadLoop(troubles.append)
    yield running
    running.close()  # Before the pool waits for those who read.
    assert troubles == []


def _end(*listeners: Listener) -> None:
    for listener in listeners:
        listener.theirs.close()


def _ended(future: Future[None]) -> None:
    with pytest.raises(Ended):
        future.result(PATIENCE_S)


def test_each_hears_its_own_and_its_end(loop: ReadLoop, readers: ThreadPoolExecutor) -> None:
    one, other = Listener(), Listener()
    futures = [readers.submit(loop.read, listener) for listener in (one, other)]
    one.theirs.sendall(b"for one")
    other.theirs.sendall(b"for the other")
    one.hears(b"for one")
    other.hears(b"for the other")
    _end(one)
    _ended(futures[0])
    assert not futures[1].done()
    other.theirs.sendall(b", still")
    other.hears(b"for the other, still")
    _end(other)
    _ended(futures[1])


def test_what_was_sent_before_the_end_is_heard(loop: ReadLoop, readers: ThreadPoolExecutor) -> None:
    listener = Listener()
    listener.theirs.sendall(b"last words")
    _end(listener)
    _ended(readers.submit(loop.read, listener))
    assert listener.heard == b"last words"


def test_the_silent_are_cared_for_and_may_be_ended_so(loop: ReadLoop, readers: ThreadPoolExecutor) -> None:
    silent, other = Listener(), Listener()
    futures = [readers.submit(loop.read, listener) for listener in (silent, other)]
    silent.until(lambda: silent.cared_for >= 2)
    silent.ends_when_cared_for = True
    with pytest.raises(Ended, match="in care"):
        futures[0].result(PATIENCE_S)
    other.theirs.sendall(b"here")
    other.hears(b"here")
    _end(other)
    _ended(futures[1])


def test_one_that_is_held_up_holds_up_no_other(loop: ReadLoop, readers: ThreadPoolExecutor) -> None:
    may_go_on = [threading.Event(), threading.Event()]
    held = [threading.Event(), threading.Event()]

    def pause(number: int) -> Callable[[bytes], None]:
        def wait(data: bytes) -> None:
            if data.startswith(b"slow"):
                held[number].set()
                assert may_go_on[number].wait(PATIENCE_S)

        return wait

    slow = [Listener(pause(0)), Listener(pause(1))]
    quick = Listener()
    futures = [readers.submit(loop.read, listener) for listener in (*slow, quick)]
    for number, listener in enumerate(slow):
        listener.theirs.sendall(b"slow")
        assert held[number].wait(PATIENCE_S)
        listener.theirs.sendall(b", then more")
        quick.theirs.sendall(b"!")
        quick.hears(b"!" * (number + 1))
    assert [listener.heard for listener in slow] == [b"", b""]
    cared_for = slow[0].cared_for
    quick.until(lambda: quick.cared_for > 2)
    assert slow[0].cared_for == cared_for, "while it is held up, nobody else touches it"
    for number, listener in enumerate(slow):
        may_go_on[number].set()
        listener.hears(b"slow, then more")
    _end(*slow, quick)
    for future in futures:
        _ended(future)
    assert [listener.overlaps for listener in (*slow, quick)] == [0, 0, 0]


@pytest.mark.parametrize("count", [5, 8, 12])
def test_many_that_wait_a_little_wait_side_by_side(
    loop: ReadLoop, readers: ThreadPoolExecutor, count: int
) -> None:
    """As cameras do whose disk has become slow: no single wait is long."""
    inside = threading.Semaphore(0)
    together = threading.Event()
    guard = threading.Lock()
    waiting = 0

    def pause(data: bytes) -> None:
        nonlocal waiting
        with guard:
            waiting += 1
            if waiting >= count // 2:
                together.set()
        inside.acquire(timeout=0.02)
        with guard:
            waiting -= 1

    listeners = [Listener(pause) for _ in range(count)]
    futures = [readers.submit(loop.read, listener) for listener in listeners]
    sent = 0
    while not together.is_set():
        assert sent < 2000, "they went on to wait one after another"
        for listener in listeners:
            listener.theirs.sendall(b".")
        sent += 1
        together.wait(0.02)
    for listener in listeners:
        listener.until(lambda listener=listener: len(listener.heard) == sent)
    _end(*listeners)
    for future in futures:
        _ended(future)
    assert [listener.overlaps for listener in listeners] == [0] * len(listeners)


def test_one_that_waited_goes_back_to_the_others(
    loop: ReadLoop, readers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_loop, "ALONE_S", 0.3)
    may_go_on, held = threading.Event(), threading.Event()
    threads: list[str] = []

    def pause(data: bytes) -> None:
        threads.append(threading.current_thread().name)
        if data == b"slow":
            held.set()
            assert may_go_on.wait(PATIENCE_S)

    listener, other = Listener(pause), Listener()
    futures = [readers.submit(loop.read, one) for one in (listener, other)]
    listener.theirs.sendall(b"slow")
    assert held.wait(PATIENCE_S)
    other.theirs.sendall(b"!")
    other.hears(b"!")
    # There when it goes on, however late we ourselves do: it may be back with the others then.
    listener.theirs.sendall(b".")
    may_go_on.set()
    while "read-loop-1" not in threads:
        before = len(listener.heard)
        listener.theirs.sendall(b".")
        listener.until(lambda before=before: len(listener.heard) > before)
    assert threads[:2] == ["read-loop-0"] * 2, "it first goes on in the thread that it held up"
    _end(listener, other)
    for future in futures:
        _ended(future)


def test_without_a_thread_to_spare_the_others_wait_and_go_on(
    readers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = read_loop._start
    told = threading.Event()

    def no_more(name: str, *rest: object) -> None:
        if name not in {"read-loop-watch", "read-loop-0"}:
            raise RuntimeError("can't start new thread")
        start(name, *rest)

    monkeypatch.setattr(read_loop, "_start", no_more)
    loop = ReadLoop(lambda _: told.set())

    def pause(data: bytes) -> None:
        if data == b"slow":
            assert told.wait(PATIENCE_S)

    slow, other = Listener(pause), Listener()
    futures = [readers.submit(loop.read, listener) for listener in (slow, other)]
    slow.theirs.sendall(b"slow")
    other.theirs.sendall(b"!")
    slow.hears(b"slow")
    other.hears(b"!")
    slow.theirs.sendall(b", and on")
    slow.hears(b"slow, and on")
    _end(slow, other)
    for future in futures:
        _ended(future)
    loop.close()
    assert [listener.overlaps for listener in (slow, other)] == [0, 0]


def test_one_that_ends_while_it_is_held_up_is_over(loop: ReadLoop, readers: ThreadPoolExecutor) -> None:
    held, may_go_on = threading.Event(), threading.Event()

    def pause(_: bytes) -> None:
        held.set()
        assert may_go_on.wait(PATIENCE_S)
        raise Ended("held up")

    slow, quick = Listener(pause), Listener()
    futures = [readers.submit(loop.read, listener) for listener in (slow, quick)]
    slow.theirs.sendall(b"x")
    assert held.wait(PATIENCE_S)
    quick.theirs.sendall(b"y")
    quick.hears(b"y")
    may_go_on.set()
    with pytest.raises(Ended, match="held up"):
        futures[0].result(PATIENCE_S)
    # Its number may be another connection's now.
    slow.ours.close()
    slow.theirs.close()
    again = Listener()
    futures.append(readers.submit(loop.read, again))
    again.theirs.sendall(b"z")
    again.hears(b"z")
    _end(quick, again)
    for future in futures[1:]:
        _ended(future)


def test_in_any_disorder_everything_is_heard_once_and_in_order(
    loop: ReadLoop, readers: ThreadPoolExecutor
) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    chance = random.Random(seed)
    others_are_done = threading.Event()

    def pause(data: bytes) -> None:
        # Longer than the loop waits for one.
        if b"\xff" in data:
            others_are_done.wait(0.4)

    listeners = [Listener(pause) for _ in range(20)]
    futures = [readers.submit(loop.read, listener) for listener in listeners]
    sent = [b""] * len(listeners)
    for _ in range(400):
        number = chance.randrange(len(listeners))
        held_up = chance.random() < 0.03
        data = bytes([0xFF if held_up else chance.randrange(255)]) * chance.randrange(1, 5000)
        listeners[number].theirs.sendall(data)
        sent[number] += data
    for listener, data in zip(listeners, sent, strict=True):
        listener.until(lambda listener=listener, data=data: len(listener.heard) >= len(data))
    others_are_done.set()
    _end(*listeners)
    for future in futures:
        _ended(future)
    assert [listener.heard for listener in listeners] == sent
    assert [listener.overlaps for listener in listeners] == [0] * len(listeners)


def test_who_waits_goes_on_when_the_loop_is_closed(loop: ReadLoop, readers: ThreadPoolExecutor) -> None:
    silent, late = Listener(), Listener()
    future = readers.submit(loop.read, silent)
    silent.until(lambda: silent.cared_for > 0)
    loop.close()
    future.result(PATIENCE_S)
    readers.submit(loop.read, late).result(PATIENCE_S)
    for listener in (silent, late):
        listener.ours.close()
        _end(listener)
