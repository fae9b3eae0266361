"""One recorder as a child process: its pipes, its signs of life, its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import structlog
from understudy_contracts.errors import InvalidMessage
from understudy_runtime.configuration import PREFIX

from understudy_recording_server.live_protocol import WatchRequest
from understudy_recording_server.recorder.protocol import (
    Command,
    Ready,
    Report,
    Shutdown,
    Trouble,
    decode_report,
    encode,
)

MAXIMUM_LINE_BYTES = 64 << 20
SILENCE_S = 3.0
"""It speaks every second. Silent this long, people are told; twice as long, a new one takes its place."""
START_S = 120.0
"""Before it is ready it finishes what a crash had left, which a slow disk may draw out."""
ENDING_S = 17.0
"""The recorder itself gives up on a hanging disk after 15 s."""

log = structlog.get_logger()


class RecorderChild:
    """`hangs` while it is silent for too long, `last_words` is what it complained of last."""

    def __init__(self, process: asyncio.subprocess.Process, live: socket.socket) -> None:
        self.hangs = False
        self.last_words = ""
        self._process = process
        self._live = live
        self._ready = False
        self._ending = False

    @classmethod
    async def start(cls, data_dir: Path, protocol: str) -> RecorderChild:
        """One that is to speak `protocol`.

        Raises:
            OSError: there can be no process.
        """
        # None of our secrets is any of its business.
        environment = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
        command = (sys.executable, "-m", "understudy_recording_server.recorder_start", protocol)
        # What live video is asked for with.
        live, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        live.setblocking(False)
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                "--data-dir",
                str(data_dir),
                "--live-socket",
                str(theirs.fileno()),
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=MAXIMUM_LINE_BYTES,
                env=environment,
                # A Ctrl-C at the terminal is for the agent, which ends the recorder in order.
                start_new_session=True,
            )
        except BaseException:
            live.close()
            raise
        finally:
            theirs.close()
        return cls(process, live)

    @property
    def status(self) -> int | None:
        """What it ended with; None while it runs."""
        return self._process.returncode

    def send(self, command: Command) -> None:
        """Passed over once it is to end."""
        stdin = self._process.stdin
        if self._ending or stdin is None or stdin.is_closing():
            return
        stdin.write(encode(command))

    def watch(self, request: WatchRequest) -> socket.socket | None:
        """Ask for a camera's live video; it comes on the socket that is returned (live_protocol.py), until
        either side closes it. None if it cannot be asked."""
        if self._ending:
            return None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            socket.send_fds(self._live, [msgspec.json.encode(request)], [theirs.fileno()])
        except OSError:
            ours.close()
            return None
        finally:
            theirs.close()
        ours.setblocking(False)
        return ours

    async def attend(self, heard: Callable[[Report], Awaitable[None]], changed: Callable[[], None]) -> None:
        """Hear it until it ends, or is killed since it hangs. `changed` is called when `hangs` is."""
        assert self._process.stdout is not None  # noqa: S101 - asked for above
        silent, patience = 0, START_S
        # Twice, since a first time may only mean that we ourselves were suspended.
        while silent < 2:
            try:
                async with asyncio.timeout(patience):
                    line = await self._process.stdout.readline()
            except TimeoutError:
                silent += 1
                self.hangs = self._ready
                changed()
                continue
            except ValueError:
                log.error("the recorder said something endless")
                break
            if not line:
                return
            if self.hangs:
                self.hangs = False
                changed()
            silent, patience = 0, SILENCE_S if self._ready else START_S
            report = self._read(line)
            if report is not None:
                await heard(report)
        log.error("the recorder is killed", silent_s=2 * patience)
        self._process.kill()

    def _read(self, line: bytes) -> Report | None:
        try:
            report = decode_report(line)
        except InvalidMessage as error:
            log.warning("the recorder said something unknown", error=error.message)
            return None
        match report:
            case Ready():
                self._ready = True
            case Trouble():
                self.last_words = report.reason
        return report

    async def end(self) -> None:
        """Have it finish its files; also called when it has ended by itself."""
        self._ending = True
        try:
            await self._end()
        finally:
            self._live.close()

    async def _end(self) -> None:
        process = self._process
        if process.returncode is None and process.stdin is not None:
            process.stdin.write(encode(Shutdown()))
            process.stdin.close()
            try:
                # Its last words must be read, or it would wait for a reader.
                async with asyncio.timeout(ENDING_S):
                    await process.communicate()
            except TimeoutError:
                log.error("the recorder does not end")
            except (BrokenPipeError, ConnectionResetError):
                log.debug("the recorder ended before it was told to")
        if process.returncode is None:
            process.kill()
        await process.wait()
        if process.stdin is not None:
            process.stdin.close()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                await process.stdin.wait_closed()
