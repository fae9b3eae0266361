"""`python -m understudy_license_broker` runs the service."""

import sys

from understudy_runtime.configuration import ControlSettings
from understudy_runtime.process import run_service

from understudy_license_broker.app import main

if __name__ == "__main__":
    sys.exit(run_service("license-broker", ControlSettings, main, end_within_s=8.0))
