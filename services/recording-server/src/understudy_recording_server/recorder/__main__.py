"""`python -m understudy_recording_server.recorder --data-dir DIR`: started by the agent, with pipes.

Start it from the agent's main thread: Linux sends the signal of a parent's death when the thread ends that
started the child.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from understudy_contracts.errors import ConfigurationError
from understudy_footage import FootageRoot
from understudy_runtime.clock import SystemClock

from understudy_recording_server.recorder.control import Recorder
from understudy_recording_server.recorder.memory import keep_together
from understudy_recording_server.recorder.startup import claim

_PR_SET_PDEATHSIG = 1


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"recorder: {message}\n")


def _segment_seconds(text: str) -> float:
    seconds = float(text)
    if not 1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError("expected 1 to 3600 seconds")
    return seconds


def main() -> NoReturn:
    parser = _Parser(prog="recorder", description="Records cameras; commands come as JSON lines on stdin.")
    parser.add_argument("--data-dir", type=Path, required=True, metavar="DIR")
    parser.add_argument("--segment-seconds", type=_segment_seconds, default=60.0, metavar="S")
    parser.add_argument("--live-socket", type=int, default=None, metavar="FD")
    arguments = parser.parse_args()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    keep_together()
    # Whatever a library prints must not end up among the reports.
    output = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    data = FootageRoot(arguments.data_dir.absolute())
    try:
        claim(data)
    except ConfigurationError as error:
        parser.exit(1, f"recorder: {error.message}\n")
    recorder = Recorder(
        data, sys.stdin.buffer, output, SystemClock(), arguments.segment_seconds, arguments.live_socket
    )
    recorder.run()
    # Threads may still wait for cameras that never answer: end without them.
    os._exit(0)


if __name__ == "__main__":
    main()
