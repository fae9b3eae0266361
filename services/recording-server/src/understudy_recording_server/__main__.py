"""`python -m understudy_recording_server`: the agent of one recording or failover server.

Options stand for settings of the environment (`--data-dir` for `UNDERSTUDY_DATA_DIR`) and win over them. The
token is better given as `UNDERSTUDY_JOIN_TOKEN`, for everybody on a machine can read the arguments of its
processes.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import NoReturn

from understudy_runtime.configuration import PREFIX
from understudy_runtime.process import EXIT_CONFIGURATION, run_service

from understudy_recording_server.app import main
from understudy_recording_server.options import AgentSettings

_OPTIONS = {
    "--data-dir": ("DATA_DIR", "DIR", "where recordings, settings and the machine's identity lie"),
    "--join": ("JOIN", "URL", "the host's address, at the first start"),
    "--token": ("JOIN_TOKEN", "T", "the token that adding the server gave out, at the first start"),
    "--listen": ("LISTEN", "HOST:PORT", "where footage is served from (127.0.0.1:0)"),
    "--advertise": ("ADVERTISE", "HOST", "under which name or address other servers reach it"),
    "--maximum-cameras": (
        "MAXIMUM_CAMERAS",
        "N",
        "how many cameras it can record (as measured, or 100)",
    ),
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_CONFIGURATION, f"understudy recording-server: {message}\n")


def options_into_environment(arguments: list[str]) -> None:
    """Put what was given on the command line where the settings are read from."""
    parser = _Parser(prog="understudy recording-server", description="One recording or failover server.")
    for option, (key, metavar, text) in _OPTIONS.items():
        parser.add_argument(option, dest=key, metavar=metavar, help=text)
    for key, value in vars(parser.parse_args(arguments)).items():
        if value is not None:
            os.environ[PREFIX + key] = value


if __name__ == "__main__":
    options_into_environment(sys.argv[1:])
    sys.exit(run_service("recording-server", AgentSettings, main))
