"""A server process on the leash, with its data folder, its lock and its log."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TypeVar

from understudy_lab.embedded import leash
from understudy_lab.embedded.errors import (
    FolderInUse,
    FolderNotWritable,
    PortInUse,
    ServerDidNotStart,
)

T = TypeVar("T")
LastWords = Callable[[Path], str]

LOOPBACK = "127.0.0.1"
_POLL_S = 0.02
_PORT_TRIES = 5
_LOG_TAIL_BYTES = 64 * 1024


class LeashedProcess:
    """A running program that ends with this process. Made by `start`; `pid` is the program's own."""

    def __init__(
        self, name: str, keeper: subprocess.Popen[str], pid: int, log: Path, words: LastWords
    ) -> None:
        self.name = name
        self.pid = pid
        self._log = log
        self._keeper = keeper
        self._last_words = words

    @classmethod
    def start(
        cls, name: str, command: list[str], data_dir: Path, log: Path, last_words: LastWords | None = None
    ) -> LeashedProcess:
        """Start `command`; its output goes to the end of `log`, and it holds the lock of `data_dir`.

        `last_words` picks from the log the line that tells why the program failed; by default the last one.
        Raises FolderInUse, ServerDidNotStart.
        """
        with _locked(data_dir) as lock, log.open("ab") as output:
            keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                pass_fds=[lock.fileno()],
                # Ctrl+C in a terminal is for the program that uses the servers: it ends them in its order.
                start_new_session=True,
            )
        assert keeper.stdout is not None  # noqa: S101 - asked for with PIPE
        with keeper.stdout:
            line = keeper.stdout.readline()
        if not line:
            keeper.wait()
            raise ServerDidNotStart(f"{name} did not start: {last_log_line(log)}")
        return cls(name, keeper, int(line), log, last_words or last_log_line)

    @property
    def running(self) -> bool:
        return self._keeper.poll() is None

    def wait_until(self, ready: Callable[[], T | None], timeout_s: float) -> T:
        """Ask `ready` again and again until it gives something.

        Raises ServerDidNotStart (after stopping the program) when the program ends or the time is over.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            running = self.running
            found = ready()
            if found is not None:
                return found
            if not running:
                raise ServerDidNotStart(f"{self.name} ended while starting: {self._last_words(self._log)}")
            if time.monotonic() > deadline:
                self.stop()
                words = self._last_words(self._log)
                raise ServerDidNotStart(f"{self.name} was not ready in {timeout_s:g} s: {words}")
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """End the program politely, after a few seconds by force. Does nothing if it has ended already."""
        if self.running:
            self._keeper.terminate()
        self._keeper.wait()

    def kill(self) -> None:
        """End the program by kill -9, as a crash would."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self._keeper.wait()


def writable_folder(path: Path) -> Path:
    """Make the folder if needed and prove that it can be written; gives its absolute path.

    Raises FolderNotWritable.
    """
    probe = path / ".writable"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise FolderNotWritable(
            f"cannot write to the data folder {path}: {error.strerror}; "
            "choose another, or change its permissions"
        ) from error
    return path.absolute()


def require_free_port(name: str, port: int) -> None:
    """Raises PortInUse if nobody could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except (OSError, OverflowError) as error:
            raise PortInUse(
                f"{name} cannot listen on {LOOPBACK}:{port}: {getattr(error, 'strerror', None) or error}; "
                "choose another port"
            ) from error


def launch_on_free_port(launch: Callable[[int], None]) -> None:
    """Call `launch` with a port that is free; if somebody else was quicker, with the next one.

    The port lies outside the range from which the system takes ports for outgoing connections, so it is still
    free when the server is restarted, however many clients connect and reconnect meanwhile.
    Raises what `launch` raises, ServerDidNotStart and PortInUse only after several tries.
    """
    for attempt in range(1, _PORT_TRIES + 1):
        try:
            launch(_free_port())
        except (ServerDidNotStart, PortInUse) as error:
            if attempt == _PORT_TRIES or "address already in use" not in error.message.lower():
                raise
        else:
            return


def _free_port() -> int:
    try:
        outgoing_from = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        outgoing_from = 32768
    lowest = max(1024, outgoing_from - 12_000)
    # Random, so that servers that start at the same time do not all try the same port first.
    for port in random.sample(
        range(lowest, max(lowest, outgoing_from)), k=min(100, max(0, outgoing_from - lowest))
    ):
        with contextlib.suppress(PortInUse):
            require_free_port("it", port)
            return port
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        any_port: int = probe.getsockname()[1]
        return any_port


def last_log_line(log: Path) -> str:
    """The last line of a log file that has anything in it."""
    return next(iter(log_lines_backwards(log)), "it left no log")


def log_lines_backwards(log: Path) -> list[str]:
    """The lines at the end of a log file that have anything in them, last first."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LOG_TAIL_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return []
    return [line.strip() for line in reversed(lines) if line.strip()]


@contextlib.contextmanager
def _locked(data_dir: Path) -> Iterator[IO[bytes]]:
    """The folder's lock; who inherits the file keeps it until the end, so no unlocking is ever forgotten."""
    with (data_dir / ".lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FolderInUse(
                f"another server works on the data folder {data_dir}: end it, or choose another folder"
            ) from error
        yield file
