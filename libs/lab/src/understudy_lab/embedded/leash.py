"""Keeps a server on a leash: it ends when the process that started it ends, even by kill -9.

Run by path with plain `python -I -S`, so it starts in about 20 ms:
`leash.py <parent pid> <program> <argument>...`.
It prints the program's process id, waits, and ends with the program's status (128 + signal if killed).

Why a process of its own, and not PR_SET_PDEATHSIG in the server alone: that signal fires when the *thread*
that forked ends, and servers are started from worker threads as well. The leash has one thread, so it can use
PR_SET_PDEATHSIG for the server (should the leash itself be killed), and it watches its own parent by
getppid(), which changes when the whole parent process is gone.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time

PARENT_CHECK_S = 0.2
STOP_GRACE_S = 5.0
"""Time between SIGTERM and SIGKILL when the parent asks for the end."""
ORPHAN_GRACE_S = 1.0
"""The same when the parent is gone: nobody waits for a polite end."""

_PR_SET_PDEATHSIG = 1
_WATCHED = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def main(arguments: list[str]) -> int:
    parent = int(arguments[0])
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    child = _fork_tied(arguments[1:])
    sys.stdout.write(f"{child}\n")
    sys.stdout.flush()
    deadline: float | None = None
    while True:
        got = signal.sigtimedwait(_WATCHED, PARENT_CHECK_S)
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        now = time.monotonic()
        if deadline is None:
            orphaned = os.getppid() != parent
            asked = got is not None and got.si_signo != signal.SIGCHLD
            if orphaned or asked:
                deadline = now + (ORPHAN_GRACE_S if orphaned else STOP_GRACE_S)
                os.kill(child, signal.SIGTERM)
                os.kill(child, signal.SIGCONT)  # a stopped program would not see SIGTERM
        elif now >= deadline:
            os.kill(child, signal.SIGKILL)


def _fork_tied(command: list[str]) -> int:
    leash = os.getpid()
    libc = ctypes.CDLL(None, use_errno=True)
    child = os.fork()
    if child:
        return child
    try:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() == leash:  # else the leash died before prctl: nobody would ever end us
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
            os.execv(command[0], command)  # noqa: S606 - an argument list, no shell
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.stderr.flush()
    os._exit(127)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
