"""`python -m understudy_recording_sync` runs the service."""

import sys

from understudy_runtime.configuration import ControlSettings
from understudy_runtime.process import run_service

from understudy_recording_sync.app import main

if __name__ == "__main__":
    sys.exit(run_service("recording-sync", ControlSettings, main, end_within_s=8.0))
