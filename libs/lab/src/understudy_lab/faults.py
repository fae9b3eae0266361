"""Commands of the system that break things on purpose, and why they cannot."""

from __future__ import annotations

import os
import shutil
import subprocess

from understudy_contracts.errors import UnderstudyError

_WITHIN_S = 30.0


class CannotInject(UnderstudyError):
    """This machine does not allow the fault; the message says what it would need."""

    code = "cannot-inject"


def require_root(why: str) -> None:
    """
    Raises:
        CannotInject: we are not root.
    """
    if os.geteuid() != 0:
        raise CannotInject(f"needs root, to {why}")


def program(name: str, package: str) -> str:
    """The path of a program of the system.

    Raises:
        CannotInject: it is not installed; names Debian's package.
    """
    path = shutil.which(name)
    if path is None:
        raise CannotInject(f"needs {name} (apt-get install {package})")
    return path


def run(*command: str) -> str:
    """What the command prints.

    Raises:
        CannotInject: it failed; with its last words.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_WITHIN_S)
    if done.returncode:
        said = done.stderr.strip() or f"status {done.returncode}"
        raise CannotInject(f"this machine does not allow `{' '.join(command)}`: {said}")
    return done.stdout.strip()
