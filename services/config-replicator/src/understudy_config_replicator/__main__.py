"""`python -m understudy_config_replicator` runs the service."""

import sys

from understudy_runtime.configuration import ControlSettings
from understudy_runtime.process import run_service

from understudy_config_replicator.app import main

if __name__ == "__main__":
    sys.exit(run_service("config-replicator", ControlSettings, main, end_within_s=8.0))
