"""Start the orchestrator."""

import sys

from understudy_contracts.model import Service
from understudy_runtime.configuration import ControlSettings
from understudy_runtime.process import run_service

from understudy_orchestrator.app import main

if __name__ == "__main__":
    sys.exit(run_service(Service.ORCHESTRATOR.value, ControlSettings, main))
