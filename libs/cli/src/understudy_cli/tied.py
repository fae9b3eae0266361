"""Ties a process to the one that starts it, before it becomes the program that it is to be.

Run by path with plain `python -I -S`: `tied.py <parent pid> <program> <argument>...`. The kernel's
PR_SET_PDEATHSIG survives exec, so there is no moment in which the program runs untied, however long its
imports take. The signal fires when the *thread* that forked ends: start it from the main thread only.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    parent, command = int(arguments[0]), arguments[1:]
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before prctl: nobody would ever end us
        sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 - an argument list, no shell


if __name__ == "__main__":
    main(sys.argv[1:])
